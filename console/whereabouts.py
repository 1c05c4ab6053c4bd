"""What the models' rows say of the hosts they are on; where there is one host, nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rich.cells import cell_len

from console.line import cut, shorten, tidy
from console.status import LIVE, Glyphs
from engine import EngineSnapshot, HostState, HostView, ModelView, Readiness

MISSED_S = 3600.0
"""So long the header tells of a lost host that nothing ran on."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The hosts of a snapshot as a row needs them."""

    names: tuple[str, ...] = ()
    """Of all hosts; none where there is one."""
    widest: int = 0
    """Columns of the longest of these; 0 where there is one."""
    troubled: Mapping[str, HostView] = field(default_factory=dict)
    """By name, those that are not well."""

    def state(self, model: ModelView) -> HostState:
        """How the host of a model is."""
        host = self.troubled.get(model.host)
        return HostState.OK if host is None else host.state


NOWHERE = Whereabouts()
"""There is one host."""


def whereabouts(snapshot: EngineSnapshot) -> Whereabouts:
    """What the rows of this snapshot have to say."""
    hosts = snapshot.hosts
    if len(hosts) < 2:
        return NOWHERE
    names = tuple(host.name for host in hosts)
    return Whereabouts(
        names,
        max(cell_len(tidy(name)) for name in names),
        {host.name: host for host in hosts if host.state is not HostState.OK},
    )


@lru_cache(maxsize=8)
def short_names(names: tuple[str, ...], width: int, glyphs: Glyphs) -> Mapping[str, str]:
    """Every host's name in so many columns, so that no two look the same.

    Hosts are named in rows, ``ip-10-0-12-34``, and a name that is cut in its middle loses just
    what it differs in. Of those that would look alike that part is shown.
    """
    short: dict[str, str] = {}
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        whole = tidy(name, ascii_only=glyphs.ascii_only)
        short[name] = shorten(whole, width, glyphs.ellipsis)
        alike[short[name]].append(name)
    for group in alike.values():
        if len(group) > 1:
            wholes = [tidy(name, ascii_only=glyphs.ascii_only) for name in group]
            start = _shared(wholes)
            end = _shared([whole[start:][::-1] for whole in wholes])
            for name, whole in zip(group, wholes, strict=True):
                short[name] = _around(whole, start, len(whole) - end, width, glyphs.ellipsis)
    return short


def _shared(texts: Sequence[str]) -> int:
    """How many letters all of them begin with."""
    first, last = min(texts), max(texts)
    differing = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(differing, min(len(first), len(last)))


def _around(text: str, start: int, end: int, width: int, mark: str) -> str:
    """What stands from ``start`` to ``end``, with as much before it as there is room for."""
    room = width - (end < len(text)) * cell_len(mark)
    shown = text[start:end]
    while start > 0 and cell_len(text[start - 1] + shown) + (start > 1) * cell_len(mark) <= room:
        start -= 1
        shown = text[start] + shown
    shown = (mark if start else "") + shown
    return cut(shown + (mark if end < len(text) else ""), width, mark)


def bereft(model: ModelView, host: HostView | None) -> bool:
    """Whether a model is unloaded because its host was lost, and nobody has let go of it since."""
    lost = host is not None and host.state is HostState.LOST
    return lost and model.readiness is Readiness.UNLOADED and bool(model.reason)


def missed(snapshot: EngineSnapshot, now: float) -> tuple[str, ...]:
    """The lost hosts that something is expected of: lost within the hour, or with a model that ran
    there and answers nowhere else. One that was taken away for good stays on the Hosts screen."""
    lost = {host.name: host for host in snapshot.hosts if host.state is HostState.LOST}
    if not lost:
        return ()
    fresh = {h.name for h in lost.values() if now - (h.heard_at or now) < MISSED_S}
    live = {m.family for m in snapshot.models if m.readiness in LIVE}
    fresh |= {
        model.host
        for model in snapshot.models
        if bereft(model, lost.get(model.host)) and (model.family or model.id) not in live
    }
    return tuple(name for name in lost if name in fresh)


def plain_id(model: ModelView) -> str:
    """A model's id without the host that its row names anyway: ``m@b`` on ``b`` is ``m``."""
    return model.id.removesuffix(f"@{model.host}") if model.host else model.id


def asked_as(snapshot: EngineSnapshot, model_id: str) -> str:
    """The name under which this row alone is asked: the plain id means every copy of a model, and
    the least loaded of them would answer for the one that was chosen."""
    model = snapshot.model(model_id)
    if model is None:
        return model_id
    copies = any(m is not model and m.family == model.family for m in snapshot.models)
    return model.alone if model.family and copies else model_id


def trouble_words(host: HostView, *, ascii_only: bool = False) -> str:
    """What is wrong with a host and what follows, with no figure that a clock would change."""
    name = tidy(host.name, ascii_only=ascii_only)
    if host.state is HostState.STALE:
        return f"{name} is not heard: what stands here is old, and nothing is loaded there"
    why = tidy(host.why, ascii_only=ascii_only)
    return f"{name} is lost: {why}" if why else f"{name} is lost"
