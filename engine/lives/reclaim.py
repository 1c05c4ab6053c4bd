"""Whether a worker's memory comes back when the worker ends, and what to do when it does not.

A graphics driver may keep what a dead process had wired (peers.md: some 58 GB of contexts leaked
until a reboot). Loading into memory that is not there takes the machine down, so the engine waits
for it, says what is missing, and counts it as taken until it is back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from engine.catalog.entry import CatalogEntry
from engine.events import EventLog
from engine.lives.board import Board
from engine.memory import Budget, Memory, gigabytes
from engine.types import Backend, Notice

PATIENCE_S = 10.0
"""How long memory may take to come back; unmapping 400 GB takes seconds."""
POLL_S = 0.25
SIGNIFICANT_BYTES = 1_000_000_000
SIGNIFICANT_SHARE = 0.02
"""A worker that took less, absolutely or of the machine, is not judged: other programs move as
much as that all the time."""
SLACK_SHARE = 0.1
"""So much of what a worker had taken may stay away before anybody is told."""
_NOTICE = "memory-not-returned"


@dataclass(slots=True)
class _Holding:
    """What one worker has taken. Sizes in bytes; a level is explained in :class:`Reclaim`."""

    promised: int
    mapped: int
    """Of what is measured, the weights llama.cpp maps: file cache, which counts as free."""
    before: int
    """The level before it was started."""
    last: int | None = None
    """The level at the last look while it ran."""
    taken: int = 0
    loaded: bool = False


@dataclass(slots=True)
class _Loss:
    """Memory that did not come back after a model's worker."""

    model_id: str
    level: int
    slack: int
    missing: int


class Reclaim:
    """Watches the level: what would be available if every worker of this engine were gone.

    It is the machine's available memory and what the living workers have taken. As long as all
    memory comes back it stays where it is, whoever loads or ends meanwhile. Two figures of it are
    kept for each worker, from before its start and from its last second, and the lower one is
    expected back: what other programs took while it ran is then no loss of ours.
    """

    def __init__(
        self,
        budget: Budget,
        board: Board,
        events: EventLog,
        probe: Callable[[], Memory],
        *,
        host: str = "",
        patience_s: float = PATIENCE_S,
        poll_s: float = POLL_S,
    ) -> None:
        """Args:
        probe: The machine's memory now.
        host: Its name, where it is not the engine's own.
        """
        self._where = f" on {host}" if host else ""
        self._notice = f"{_NOTICE}-{host}" if host else _NOTICE
        self._budget = budget
        self._board = board
        self._events = events
        self._probe = probe
        self._patience_s = patience_s
        self._poll_s = poll_s
        self._held: dict[str, _Holding] = {}
        self._losses: list[_Loss] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._closed = False

    def begin(self, entry: CatalogEntry, promised: int) -> None:
        """A worker is about to be started for this model.

        Args:
            promised: Bytes reserved for it.
        """
        if entry.backend is Backend.SIMULATED:
            return  # it says it holds what it plays to hold
        mapped = entry.weight_bytes if entry.backend is Backend.GGUF else 0
        self._held[entry.id] = _Holding(promised, mapped, self._level(generous=False))

    def note(self, model_id: str, measured: int, *, loaded: bool = True) -> None:
        """What a model's worker says it holds, in bytes."""
        if (holding := self._held.get(model_id)) is not None:
            holding.taken = max(measured - holding.mapped, 0)
            holding.loaded = loaded

    def look(self) -> None:
        """Take the level, and see whether what was missing is back. Called every second."""
        if not self._held and not self._losses:
            return  # measuring is a file read: an idle engine need not
        level = self._level(generous=False)
        for holding in self._held.values():
            holding.last = level
        for loss in tuple(self._losses):
            # It only ever shrinks: what others take later was not lost by this worker.
            loss.missing = min(loss.missing, loss.level - self._level())
            if loss.missing <= loss.slack:
                self._losses.remove(loss)
                text = "the memory its worker had taken is back"
                self._events.add("memory_returned", text, model_id=loss.model_id)
                self._board.changed()
        self._tell()

    def ended(self, model_id: str) -> None:
        """The model's worker is gone; its memory is waited for where it had taken much."""
        holding = self._held.pop(model_id, None)
        if holding is None or self._closed:
            return
        total = self._probe().total
        if holding.taken <= max(SIGNIFICANT_BYTES, SIGNIFICANT_SHARE * total):
            return
        levels = (holding.before, holding.last)
        expected = min(level for level in levels if level is not None)
        slack = max(int(holding.taken * SLACK_SHARE), SIGNIFICANT_BYTES // 2)
        task = asyncio.create_task(self._watch(model_id, expected, slack))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def settled(self) -> None:
        """Wait until every worker's memory is back, or given up."""
        if self._watches:
            await asyncio.wait(self._watches)

    @property
    def missing(self) -> int:
        """Bytes that did not come back."""
        return sum(loss.missing for loss in self._losses)

    def close(self) -> None:
        """The engine ends: nobody will load into it any more."""
        self._closed = True
        for watch in tuple(self._watches):
            watch.cancel()

    async def _watch(self, model_id: str, level: int, slack: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while (missing := level - self._level()) > slack:
            if loop.time() >= deadline:
                self._losses.append(_Loss(model_id, level, slack, missing))
                text = f"{gigabytes(missing)} its worker had taken did not come back"
                self._events.add("memory_not_returned", text, model_id=model_id, level="error")
                self._board.changed()
                self._tell()
                return
            await asyncio.sleep(self._poll_s)

    def _level(self, *, generous: bool = True) -> int:
        """See the class.

        Args:
            generous: Count for a worker that is still loading what it was promised: it may have
                taken that and not said so yet. What is expected back is reckoned without.
        """
        held = (h.promised if generous and not h.loaded else h.taken for h in self._held.values())
        return self._probe().available + sum(held)

    def _tell(self) -> None:
        """Bring budget and banner up to date."""
        missing = self.missing
        self._budget.lose(missing)
        if not missing:
            self._board.unnotice(self._notice)
            return
        names = ", ".join(dict.fromkeys(loss.model_id for loss in self._losses))
        lost = f"{gigabytes(missing)} not returned{self._where}"
        text = f"{lost}; a reboot may be needed (after {names} ended)"
        self._board.notice(Notice(self._notice, text, "error"))
