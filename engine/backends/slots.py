"""Who computes and who waits: the same in every backend, whatever a slot costs it."""

import collections
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from engine.backends.base import StepEvent
from engine.workers.protocol import Generate, Progress

_QUEUED_S = 1.0
"""How often a waiting request says that it waits: the parent must see that it lives."""


class Asking(Protocol):
    """What a backend keeps of a request."""

    request: Generate


Run = TypeVar("Run", bound=Asking)


class Slots(Generic[Run]):
    """Requests in order of arrival: so many of them compute, the others wait.

    Args:
        most: How many may compute at once.
        now: The time on the backend's clock, in seconds.
    """

    def __init__(self, most: int = 1, now: float = 0.0) -> None:
        self.most = most
        self.running: list[Run] = []
        self.waiting: collections.deque[Run] = collections.deque()
        self._cancelled: list[Run] = []
        self._spoke = now

    def __iter__(self) -> Iterator[Run]:
        yield from self.running
        yield from self.waiting

    def __len__(self) -> int:
        return len(self.running) + len(self.waiting)

    @property
    def first(self) -> Run | None:
        """Whose turn it is to be admitted; None where nobody waits or every slot is taken."""
        return self.waiting[0] if self.waiting and len(self.running) < self.most else None

    def admit(self) -> Run:
        """Let the first of those waiting compute."""
        run = self.waiting.popleft()
        self.running.append(run)
        return run

    def leave(self, run: Run) -> None:
        """Take a request out, wherever it is."""
        if run in self.running:
            self.running.remove(run)
        else:
            self.waiting.remove(run)

    def cancel(self, request_id: str) -> None:
        """Note that a request is to end. Unknown ids are ignored."""
        for run in self:
            if run.request.id == request_id and run not in self._cancelled:
                self._cancelled.append(run)

    def take_cancelled(self) -> list[Run]:
        """Those cancelled since the last time; all of them are still here."""
        cancelled, self._cancelled = self._cancelled, []
        return cancelled

    def report_waiting(self, now: float, events: list[StepEvent]) -> None:
        """Say once a second of each request that waits that it does: it is no hang."""
        if now - self._spoke < _QUEUED_S:
            return
        self._spoke = now
        events.extend(Progress(id=run.request.id, stage="queued") for run in self.waiting)
