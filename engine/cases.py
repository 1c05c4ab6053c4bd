"""The cases and holds in memory as they stand on disk, and the meters of who is at work."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine import strikes
from engine.home.statefile import Case, Hold, StateFile
from engine.text import clean_line
from engine.types import Key

_OLD_CASES = 200
"""Closed cases kept for their evidence."""
_JUMP_S = 1.0
"""A clock that goes back by less is left alone: time servers slew it so."""


@dataclass(slots=True)
class Meter:
    """The running time of one worker since it was last written into its case."""

    since: float
    clean: bool
    """Whether it is routable time."""


class Cases:
    """What the quarantine knows. Its owner serialises the calls.

    Args:
        file: Where it is kept.
        clock: Unix seconds; may jump.
        ticks: Seconds that never jump.
    """

    def __init__(
        self, file: StateFile, clock: Callable[[], float], ticks: Callable[[], float]
    ) -> None:
        self.known: dict[Key, Case] = {case.key: case for case in file.state.cases}
        self.holds: dict[str, Hold] = {hold.model_id: hold for hold in file.state.holds}
        self.meters: dict[Key, Meter] = {}
        self._file = file
        self._clock = clock
        self._ticks = ticks
        self._last = clock()
        latest = max((c.sentence.since for c in self.known.values() if c.sentence), default=0.0)
        if latest > self._last + _JUMP_S:
            self._move(self._last - latest)  # the clock went back while nothing ran

    def now(self) -> float:
        """Unix seconds; a clock that was set back has moved every cool-down along by then."""
        now = self._clock()
        if now < self._last - _JUMP_S:
            self._move(now - self._last)
        self._last = now
        return now

    def _move(self, seconds: float) -> None:
        self.known = {key: strikes.moved(case, seconds) for key, case in self.known.items()}
        self.save()

    def of(self, key: Key, model_id: str) -> Case:
        """The case of this content, begun if there is none."""
        name = clean_line(model_id)
        case = self.known.get(key)
        if case is None:
            case = Case(
                model_id=name,
                fingerprint=key.fingerprint,
                backend=key.backend,
                backend_version=key.backend_version,
                host_class=key.host_class,
                host=key.host,
            )
        elif case.model_id != name:
            case = case.model_copy(update={"model_id": name})
        self.known[key] = case
        return case

    def hold(self, model_id: str, actor: str, reason: str, family: str) -> str:
        """Put a hold on a model's id, or on every copy of its family; returns the id as kept."""
        name = clean_line(model_id)
        who = clean_line(actor, limit=200)
        why = clean_line(reason) or f"held by {who}"
        self.holds[name] = Hold(
            model_id=name, since=self.now(), actor=who, reason=why, family=clean_line(family)
        )
        return name

    def inherit(self, model_id: str, family: str) -> bool:
        """Extend a hold on a whole family to a copy that has just appeared; returns whether there
        is one."""
        name, family = clean_line(model_id), clean_line(family)
        of_all = next((hold for hold in self.holds.values() if hold.family == family), None)
        if of_all is None or name in self.holds:
            return False
        self.holds[name] = of_all.model_copy(update={"model_id": name})
        return True

    def tell_apart(self, model_id: str) -> None:
        """One copy is released: the holds on the others are on those alone from now on."""
        released = self.holds.get(clean_line(model_id))
        if released is not None and released.family:
            self.holds = {
                name: hold.model_copy(update={"family": ""})
                if hold.family == released.family
                else hold
                for name, hold in self.holds.items()
            }

    def run(self, key: Key, model_id: str, *, clean: bool) -> None:
        """Start, or go on with, the meter of a model at work."""
        self.of(key, model_id)
        self.meters[key] = Meter(self._ticks(), clean)

    def settle(self, key: Key) -> None:
        """Write the running time so far into the case."""
        meter = self.meters.get(key)
        if meter is None:
            return
        now = self._ticks()
        ran = max(now - meter.since, 0.0)
        meter.since = now
        self.known[key] = strikes.worked(self.known[key], ran, ran if meter.clean else 0.0)

    def save(self, *, durable: bool = True) -> None:
        """Put everything on disk; see ``StateFile.trouble`` for what happens when that fails.

        Args:
            durable: Wait for the disk. Running time can wait for the next write.
        """
        cases, holds = tuple(self._worth_keeping()), tuple(self.holds.values())
        self._file.change(durable=durable, cases=cases, holds=holds)

    def flush(self) -> None:
        """Have on disk what was put there without waiting."""
        self._file.flush()

    def _worth_keeping(self) -> Iterable[Case]:
        def spent(case: Case) -> bool:
            return not case.strikes and case.sentence is None and case.key not in self.meters

        empty = [k for k, c in self.known.items() if spent(c) and c.last is None]
        old = [k for k, c in self.known.items() if spent(c) and c.last is not None]
        old.sort(key=lambda k: self.known[k].evidence[-1].at)
        for key in empty + old[: max(len(old) - _OLD_CASES, 0)]:
            del self.known[key]
        return self.known.values()
