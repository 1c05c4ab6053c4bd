"""Who asks and how urgently, by the request's headers."""

from collections.abc import Mapping

from engine.errors import Code, EngineError, refuse
from engine.face import Lane
from engine.text import clean_line

_LANES = {lane.value: lane for lane in Lane}
_PRIORITIES = {
    "interactive": Lane.INTERACTIVE,
    "high": Lane.INTERACTIVE,
    "normal": Lane.INTERACTIVE,
    "throughput": Lane.THROUGHPUT,
    "low": Lane.THROUGHPUT,
    "batch": Lane.THROUGHPUT,
}


def client_of(headers: Mapping[str, str], user: str | None, address: str) -> str:
    """The client's name: ``X-Client-ID``, else ``x-openclaw-agent-id``, else the body's ``user``,
    else where it comes from."""
    named = headers.get("x-client-id") or headers.get("x-openclaw-agent-id") or user or address
    return clean_line(named, limit=80).strip() or address or "unnamed"


def lane_of(headers: Mapping[str, str]) -> Lane:
    """The lane asked for: ``X-Serving-Lane``, which wins over ``X-Priority``.

    Raises:
        EngineError: ``invalid_header``; there is no such lane.
    """
    for header, known in (("X-Serving-Lane", _LANES), ("X-Priority", _PRIORITIES)):
        if (value := headers.get(header.lower())) is None:
            continue
        lane = known.get(value.strip().lower())
        if lane is None:
            raise EngineError(
                refuse(
                    Code.INVALID_HEADER,
                    f"{header} names no lane",
                    expected=" or ".join(known),
                    found=clean_line(value, limit=80),
                    remedy=f"send {header} with one of these, or leave it out",
                    param=header,
                )
            )
        return lane
    return Lane.INTERACTIVE
