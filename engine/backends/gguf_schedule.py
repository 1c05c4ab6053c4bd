"""Which requests share the next batch of a GGUF model, and which wait for room in its cache."""

from dataclasses import dataclass

from engine.backends.answer import Answer
from engine.backends.constraint import Constraint
from engine.backends.gguf_cells import Cells, Sequence
from engine.backends.gguf_native import BATCH, Row
from engine.backends.gguf_sampler import Sampler
from engine.backends.prefix import WORTH_WAITING, shared
from engine.backends.slots import Slots
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
    sequence: Sequence | None = None
    joined: bool = False
    """Whether it has run before: what it finds in the cache then may be its own."""
    taken: int = 0
    """Tokens in the present batch."""
    output: int = -1
    """Position in the batch of its logits, or -1."""

    @property
    def fed(self) -> int:
        """How many of its tokens are in the cache."""
        return 0 if self.sequence is None else self.sequence.filled

    @property
    def decoding(self) -> bool:
        return self.answer.generated > 0 and len(self.tokens) - self.fed == 1


class Schedule(Slots[Run]):
    """Slots in one cache.

    Requests join when their prompt fits beside the others, less what the cache holds of it. Should
    they outgrow the cache together, the youngest gives its cells back, waits, and is read in again
    with what it had generated.

    Args:
        cells: The cache.
        now: The time on the backend's clock, in seconds.
    """

    def __init__(self, cells: Cells, now: float = 0.0) -> None:
        super().__init__(cells.running, now)
        self._cells = cells

    def arrange(self) -> None:
        """Put back who no longer fits, let in who does, and see that all have room."""
        while not self._cells.make_room(self._unread()) and len(self.running) > 1:
            self.put_back()
        while (run := self.first) is not None:
            if not self._join(run):
                break
        self._cells.make_room(self._unread())

    def _unread(self) -> int:
        return sum(len(run.tokens) - run.fed for run in self.running)

    def _join(self, run: Run) -> bool:
        if self.running and not self._cells.fits(self._unread() + 1 + _HEADROOM):
            return False  # whatever it shares: no prompt need be compared
        source, common = self._cells.longest(run.tokens)
        if self.running:
            left = len(run.tokens) - common + self._unread()
            if not self._cells.fits(left + _HEADROOM, source, common):
                return False
            if self._coming(run) - common > WORTH_WAITING:
                return False
        self.admit()
        run.sequence = self._cells.begin(run.tokens, source, common)
        if not run.joined:
            run.answer.cached_tokens = common
        run.joined = True
        return True

    def _coming(self, run: Run) -> int:
        """How much of a prompt's beginning others are still reading."""
        if not self._cells.keep:
            return 0
        readers = [other for other in self.running if not other.decoding]
        most = len(run.tokens) - 1
        return max((shared(other.tokens, run.tokens, most) for other in readers), default=0)

    def put_back(self) -> None:
        """Let the youngest give its cells back and wait."""
        run = self.running.pop()
        if run.sequence is not None:
            self._cells.end(run.sequence, keep=False)
        run.sequence = None
        self.waiting.appendleft(run)

    def yield_cells(self) -> Run | None:
        """Make room where llama.cpp finds none although it was counted: give up what is kept,
        then let the youngest wait.

        Returns:
            The one request that finds no room although it is alone.
        """
        if self._cells.kept:
            while self._cells.kept:
                self._cells.give_up()
        elif len(self.running) > 1:
            self.put_back()
        else:
            return self.running[0]
        return None

    def fill(self, budget: int) -> list[Row]:
        """The next batch: every stream's token first, then prompts in order of arrival.

        Args:
            budget: Tokens of prompts it may hold.
        """
        streams = [run for run in self.running if run.decoding]
        budget = min(budget, BATCH - len(streams))
        rows: list[Row] = []
        for run in (*streams, *(run for run in self.running if not run.decoding)):
            if run.sequence is None:
                continue
            fed, number = run.fed, run.sequence.number
            left = len(run.tokens) - fed
            run.taken = 1 if run.decoding else min(left, budget)
            budget -= 0 if run.decoding else run.taken
            rows.extend(
                Row(run.tokens[position], position, number, False)
                for position in range(fed, fed + run.taken)
            )
            run.output = -1
            if run.taken == left:
                run.output = len(rows) - 1
                rows[-1] = rows[-1]._replace(output=True)
        return rows

    def computed(self, run: Run) -> None:
        """Note that what the batch took of a request is in the cache now."""
        if run.sequence is not None:
            self._cells.fill(run.sequence, run.taken)

    def drop(self, run: Run, *, keep: bool = True) -> None:
        """Forget a request, wherever it is.

        Args:
            keep: Whether its cells are good for whoever begins alike.
        """
        if run.sequence is not None:
            self._cells.end(run.sequence, keep=keep)
            run.sequence = None
        self.leave(run)
        run.sampler.close()
