"""Which cells of a GGUF model's cache hold which tokens: those of running requests, and those kept
of finished ones so that a prompt that begins alike is not read again.

All sequences share one pool. To share a beginning costs no cell: llama.cpp tags the same cells with
a second sequence. What is kept lives in what the running requests leave free, and goes first.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from engine.backends.prefix import WORTHWHILE, Kept, longest

_SHARE = 0.5
"""Most of the pool that may be kept for later, the newest sequence not counted: a decode looks at
every used cell, also at those it masks (12 % slower with 3,500 of them, starter model)."""


class Memory(Protocol):
    """What is asked of llama.cpp's memory."""

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Let ``target`` begin with the first ``tokens`` of ``source``, in the same cells."""
        ...

    def forget(self, sequence: int) -> None:
        """Take a sequence out of its cells; those nobody else is in are free then."""
        ...


class _Span(NamedTuple):
    """Cells of positions ``start`` to ``end``, computed by the sequence of the number ``origin``.

    Everybody who holds cells of an origin holds them from its start, because only beginnings are
    shared: so its cells in use are those up to the furthest end.
    """

    origin: int
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Sequence:
    """One sequence of llama.cpp's."""

    number: int
    tokens: list[int]
    """What it is about; the list of a running request grows with its answer."""
    borrowed: tuple[_Span, ...]
    """The cells it began with."""
    origin: int
    """Whose the cells are that it computes itself."""
    first: int
    """Position of the first of those."""
    filled: int
    """How many of its tokens are in cells."""

    @property
    def spans(self) -> tuple[_Span, ...]:
        """All of its cells."""
        return (*self.borrowed, _Span(self.origin, self.first, self.filled))

    @property
    def divisible(self) -> bool:
        """Always: of a memory that cannot be cut nothing is kept."""
        return True


@dataclass(slots=True)
class Cells:
    """The pool and who is in it.

    Args:
        memory: llama.cpp's side.
        pool: How many cells there are.
        running: How many sequences may run at once.
        keep: How many finished ones may be kept beside them; 0 where the model's memory cannot be
            shared or cut.
    """

    memory: Memory
    pool: int
    running: int
    keep: int
    used: int = 0
    """Cells in use, shared ones counted once."""
    live: list[Sequence] = field(default_factory=list)
    kept: Kept[Sequence] = field(default_factory=Kept)
    _free: list[int] = field(init=False)
    _origins: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._free = list(range(self.running + self.keep))

    def longest(self, prompt: list[int]) -> tuple[Sequence | None, int]:
        """Who holds most of a prompt's beginning, and how many tokens; the last is never counted,
        because its logits must be computed."""
        return longest(prompt, (*self.kept, *self.live)) if self.keep else (None, 0)

    def needed(self, source: Sequence | None, common: int) -> int:
        """Cells in use by what runs, and by one more that begins with this much of a source."""
        borrowed = _cut(source.spans, common) if source is not None else ()
        return _count((*(span for one in self.live for span in one.spans), *borrowed))

    def fits(self, more: int, source: Sequence | None = None, common: int = 0) -> bool:
        """Whether there is room for so many cells more, once all that is kept is given up."""
        return self.needed(source, common) + more <= self.pool

    def begin(self, tokens: list[int], source: Sequence | None, common: int) -> Sequence:
        """A sequence for a request, which holds what it has in common with a source already."""
        number = self._free.pop()
        borrowed: tuple[_Span, ...] = ()
        if source is not None:
            self.memory.copy(source.number, number, common)
            borrowed = _cut(source.spans, common)
            if source in self.kept:
                self.kept.touch(source)
        sequence = Sequence(number, tokens, borrowed, next(self._origins), common, common)
        self.live.append(sequence)
        return sequence

    def fill(self, sequence: Sequence, tokens: int) -> None:
        """Note that so many more of its tokens were computed."""
        sequence.filled += tokens
        self.used += tokens

    def end(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a sequence from its request: to be kept, or forgotten."""
        self.live.remove(sequence)
        if not keep or not self.keep or sequence.filled < WORTHWHILE:
            self._forget(sequence)
            return
        sequence.tokens = sequence.tokens[: sequence.filled]
        for gone in self.kept.add(sequence):
            self._forget(gone)
        while len(self.kept) > self.keep or (
            len(self.kept) > 1 and self.used - self.needed(None, 0) > self.pool * _SHARE
        ):
            self.give_up()

    def make_room(self, wanted: int) -> bool:
        """Give up what is kept, least recently used first, until so many cells are free.

        Returns:
            Whether they are.
        """
        while self.used + wanted > self.pool:
            if not self.kept:
                return False
            self.give_up()
        return True

    def give_up(self) -> None:
        """Forget the least recently used of those kept."""
        self._forget(self.kept.give_up())

    def _forget(self, sequence: Sequence) -> None:
        self.memory.forget(sequence.number)
        self._free.append(sequence.number)
        self.used = _count(span for one in (*self.live, *self.kept) for span in one.spans)


def _cut(spans: tuple[_Span, ...], end: int) -> tuple[_Span, ...]:
    return tuple(
        span._replace(end=min(span.end, end)) for span in spans if span.start < min(span.end, end)
    )


def _count(spans: Iterable[_Span]) -> int:
    lengths: dict[int, int] = {}
    for span in spans:
        lengths[span.origin] = max(lengths.get(span.origin, 0), span.end - span.start)
    return sum(lengths.values())
