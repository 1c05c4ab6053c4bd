"""The ledger's layout, a JSON array with one record per line, and how whole records are found.

The file is ``[``, then one line per record, every one but the first opening with its comma, then
``]``. An append replaces the closing bracket and nothing before it, so no earlier byte is ever
written twice, and a write cut short leaves one damaged tail that can be told from whole records.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pydantic_core

FIELDS = ("ts", "model_id", "backend", "backend_version", "outcome", "reason", "metadata")
EMPTY = b"[\n]\n"
CLOSE = b"]\n"
_KEYS = frozenset(FIELDS)
_NUMBERS = (int, float)
_MEANINGLESS = b"[], \t\r\n"


class Record(NamedTuple):
    """What is kept in memory of one whole record; the rest is read again when it is asked for."""

    offset: int
    """Where its JSON begins in the file."""
    length: int
    """Bytes of its JSON."""
    ts: float
    model_id: str
    backend: str
    backend_version: str
    outcome: str
    event: str
    fingerprint: str
    origin: str
    """The host an imported record was written on; empty for this host's own."""
    host_class: str
    """The class of host it is about; empty for that of the engine's own host."""


@dataclass(slots=True)
class Scan:
    """The whole records of some bytes, and the bytes that are none."""

    records: list[Record] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)
    good: int = 0
    """Where the last whole record of the undamaged beginning ends."""
    tidy: bool = False
    """Nothing to repair at all."""
    in_place: bool = True
    """Only the tail is damaged."""


def parse(line: bytes) -> dict[str, Any] | None:
    """One record, or None when these bytes are no whole record with exactly the seven fields."""
    try:
        content = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError:
        return None
    # Written out, because it runs for every line when a ledger is opened.
    if (
        type(content) is dict
        and content.keys() == _KEYS
        and type(content["ts"]) in _NUMBERS
        and type(content["model_id"]) is str
        and type(content["backend"]) is str
        and type(content["backend_version"]) is str
        and type(content["outcome"]) is str
        and type(content["reason"]) is str
        and type(content["metadata"]) is dict
    ):
        return content
    return None


def digest(offset: int, length: int, content: dict[str, Any]) -> Record:
    """The part of a record that is kept in memory."""
    metadata = content["metadata"]
    return Record(
        offset,
        length,
        content["ts"],
        content["model_id"],
        content["backend"],
        content["backend_version"],
        content["outcome"],
        str(metadata.get("event", "")),
        str(metadata.get("fingerprint", "")),
        str(metadata.get("origin", "")),
        str(metadata.get("host_class", "")),
    )


def scan(data: bytes, base: int, first: bool) -> Scan:
    """Find the whole records in ``data``, which begins at ``base`` (0, or a closing bracket).

    Args:
        first: No record stands before ``base``, so the next one opens with no comma.
    """
    found = Scan(good=base)
    lines = data.split(b"\n")
    position = base
    if base == 0:
        if lines[0].strip() == b"[":
            position, found.good = len(lines[0]) + 1, len(lines[0])
            found.in_place = lines[0] == b"["
            lines = lines[1:]
        else:
            found.in_place = False
    broken = False
    closed = lines[-2:] == [b"]", b""]
    for line in lines[:-2] if closed else lines:
        offset, position = position, position + len(line) + 1
        body = line.strip(b" \t\r,")
        content = parse(body) if body else None
        if content is None:
            broken = True
            if line.strip(_MEANINGLESS):
                found.damaged.append(line)
            continue
        lead = b"" if first else b","
        first = False
        if broken or line != lead + body:
            found.in_place = False  # repaired by a fresh file, not at the tail
        start = offset + line.index(body)
        found.records.append(digest(start, len(body), content))
        if found.in_place:
            found.good = start + len(body)
    found.tidy = closed and not broken and found.in_place
    return found


def other_layout(whole: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Read a JSON array that some other program laid out, or None when it is none.

    Returns its records and its other elements, each as JSON.
    """
    try:
        content = pydantic_core.from_json(whole, allow_inf_nan=False)
    except ValueError:
        return None
    if type(content) is not list:
        return None
    bodies = [pydantic_core.to_json(item) for item in content]
    good = [body for body in bodies if parse(body) is not None]
    return good, [body for body in bodies if parse(body) is None]


def whole_file(bodies: Sequence[bytes]) -> bytes:
    """A fresh ledger holding these records."""
    return b"[\n" + b"\n,".join(bodies) + (b"\n" if bodies else b"") + CLOSE
