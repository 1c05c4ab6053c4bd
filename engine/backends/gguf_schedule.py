"""Which requests share the next batch of a GGUF model, and which wait for room in its cache."""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.backends.answer import Answer
from engine.backends.constraint import Constraint
from engine.backends.gguf_native import BATCH, Row
from engine.backends.gguf_sampler import Sampler
from engine.workers.protocol import Generate

_HEADROOM = 64
"""Cells that must be free beyond a prompt before it joins others, so that it is not put back at
once."""


@dataclass(slots=True, eq=False)
class Run:
    """One request: waiting, reading its prompt or decoding."""

    request: Generate
    tokens: list[int]
    """The prompt and what was generated; those from ``fed`` on are not in the cache yet."""
    sampler: Sampler
    answer: Answer
    constraint: Constraint | None = None
    sequence: int = -1
    fed: int = 0
    taken: int = 0
    """Tokens in the present batch."""
    output: int = -1
    """Position in the batch of its logits, or -1."""
    cancelled: bool = False

    @property
    def decoding(self) -> bool:
        return self.answer.generated > 0 and len(self.tokens) - self.fed == 1


class Schedule:
    """Who computes and who waits, in order of arrival.

    Requests join when their prompt fits beside the others. Should they outgrow the cache together,
    the youngest gives its cells back, waits, and is read in again with what it had generated.

    Args:
        sequences: How many may compute at once.
        cells: How many tokens they may hold together.
        forget: Frees a sequence's cells.
    """

    def __init__(self, sequences: int, cells: int, forget: Callable[[int], None]) -> None:
        self._free = list(range(sequences))
        self._cells = cells
        self._forget = forget
        self.running: list[Run] = []
        self.waiting: collections.deque[Run] = collections.deque()

    def __iter__(self) -> Iterator[Run]:
        yield from self.running
        yield from self.waiting

    def __len__(self) -> int:
        return len(self.running) + len(self.waiting)

    def arrange(self) -> None:
        """Put back who no longer fits, and let in who does."""
        while len(self.running) > 1 and self._held() > self._cells:
            self.put_back()
        while self.waiting and self._free:
            run = self.waiting[0]
            if self.running and self._held() + len(run.tokens) + _HEADROOM > self._cells:
                return
            self.waiting.popleft()
            run.sequence = self._free.pop()
            self.running.append(run)

    def _held(self) -> int:
        return sum(len(run.tokens) for run in self.running)

    def put_back(self) -> None:
        """Let the youngest give its cells back and wait."""
        run = self.running[-1]
        self._release(run)
        run.fed = 0
        self.waiting.appendleft(run)

    def fill(self, budget: int) -> list[Row]:
        """The next batch: every stream's token first, then prompts in order of arrival.

        Args:
            budget: Tokens of prompts it may hold.
        """
        streams = [run for run in self.running if run.decoding]
        budget = min(budget, BATCH - len(streams))
        rows: list[Row] = []
        for run in (*streams, *(run for run in self.running if not run.decoding)):
            left = len(run.tokens) - run.fed
            run.taken = 1 if run.decoding else min(left, budget)
            budget -= 0 if run.decoding else run.taken
            rows.extend(
                Row(run.tokens[position], position, run.sequence, False)
                for position in range(run.fed, run.fed + run.taken)
            )
            run.output = -1
            if run.taken == left:
                run.output = len(rows) - 1
                rows[-1] = rows[-1]._replace(output=True)
        return rows

    def drop(self, run: Run) -> None:
        """Forget a request, wherever it is."""
        if run.sequence >= 0:
            self._release(run)
        else:
            self.waiting.remove(run)
        run.sampler.close()

    def _release(self, run: Run) -> None:
        self.running.remove(run)
        self._forget(run.sequence)
        self._free.append(run.sequence)
        run.sequence = -1
