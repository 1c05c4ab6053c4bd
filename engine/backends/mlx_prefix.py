"""The sequences that have ended, kept with their caches so that a prompt that begins like one of
them is not read again: a chat's next turn, another chat with the same system prompt, the canary's
next question.

MLX has no cells that sequences could share: whoever begins alike gets a copy. What is kept lives in
what the running requests leave of the memory the load was admitted for, and goes first.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from engine.backends.prefix import WORTHWHILE, Kept

_MOST = 64
"""Sequences kept at most: every new prompt is compared with each of them."""

Cache = list[Any]
"""What mlx-lm keeps of one sequence, layer by layer."""


class Caches(Protocol):
    """What is asked of mlx-lm's caches."""

    def size(self, cache: Cache) -> int:
        """The bytes it takes."""
        ...

    def largest(self, cache: Cache, context: int) -> int:
        """The bytes one like it takes with a whole context."""
        ...

    def holds(self, cache: Cache, tokens: int) -> bool:
        """Whether it is of exactly so many tokens, as far as its layers tell."""
        ...

    def divisible(self, cache: Cache) -> bool:
        """Whether it can be cut."""
        ...

    def copy(self, cache: Cache, surplus: int) -> Cache:
        """The same without the last ``surplus`` tokens; what is done to it changes only itself."""
        ...

    def settle(self, caches: list[Cache]) -> None:
        """Compute their arrays, so that they hold on to nothing else."""
        ...


@dataclass(slots=True, eq=False)
class Past:
    """A sequence that has ended."""

    tokens: list[int]
    cache: Cache
    size: int
    """Bytes."""
    divisible: bool

    @property
    def filled(self) -> int:
        """All of it is computed."""
        return len(self.tokens)


class Prefixes:
    """What is kept, and how much of it there may be.

    Args:
        caches: mlx-lm's side.
        context: Tokens a sequence may hold.
        slots: Sequences the load was admitted for.
    """

    def __init__(self, caches: Caches, *, context: int, slots: int) -> None:
        self._caches = caches
        self._context = context
        self._slots = slots
        self._room: int | None = None
        """Bytes the load was admitted for, those of running requests included. The first sequence
        kept tells what a whole one takes."""
        self._fresh: list[Past] = []
        self.kept: Kept[Past] = Kept()
        self.used = 0
        """Bytes of what is kept."""

    def keep(self, cache: Cache, tokens: list[int]) -> None:
        """Keep a sequence that has ended."""
        if len(tokens) < WORTHWHILE or not self._caches.holds(cache, len(tokens)):
            return
        if self._room is None:
            self._room = self._caches.largest(cache, self._context) * self._slots
        size, divisible = self._caches.size(cache), self._caches.divisible(cache)
        past = Past(list(tokens), cache, size, divisible)
        self.used += size
        self._fresh.append(past)
        for gone in self.kept.add(past):
            self._gone(gone)

    def settle(self) -> bool:
        """Take what was just kept out of the batch it was part of, whose memory is free then.

        Not done by ``keep``, because it waits for the batch's computation.

        Returns:
            Whether there was any.
        """
        fresh, self._fresh = self._fresh, []
        if fresh:
            self._caches.settle([past.cache for past in fresh])
        return bool(fresh)

    def take(self, past: Past, tokens: int) -> Cache:
        """A copy of the first tokens of one that is kept."""
        self.kept.touch(past)
        return self._caches.copy(past.cache, past.filled - tokens)

    def make_room(self, running: int) -> None:
        """Give up the least recently used until the rest fits.

        Args:
            running: Bytes the caches of running requests take.
        """
        while self.kept and (len(self.kept) > _MOST or self.used + running > (self._room or 0)):
            self._gone(self.kept.give_up())

    def drop(self) -> None:
        """Keep nothing."""
        while self.kept:
            self._gone(self.kept.give_up())

    def _gone(self, past: Past) -> None:
        self.used -= past.size
        if past in self._fresh:
            self._fresh.remove(past)
