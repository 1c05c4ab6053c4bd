"""What runs of tokens have in common at their beginning, and those kept so that a prompt that
begins like one of them is not computed again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

WORTHWHILE = 8
"""Fewer tokens in common are not worth taking from a cache."""
WORTH_WAITING = 32
"""Tokens that another request is just reading and this one has in common: more than that are
waited for, which costs a step, rather than computed twice."""


def shared(one: Sequence[int], other: Sequence[int], most: int | None = None) -> int:
    """How many tokens both begin with.

    By halving, so that lists of 100,000 tokens are compared by a few calls into C.

    Args:
        most: The answer is cut to it.
    """
    high = min(len(one), len(other))
    if most is not None:
        high = min(high, most)
    if one[:high] == other[:high]:
        return high
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Computed(Protocol):
    """A run of tokens, and what was computed of it."""

    @property
    def tokens(self) -> list[int]:
        """What it is about; a running request's list may grow."""
        ...

    @property
    def filled(self) -> int:
        """How many of its tokens are computed."""
        ...

    @property
    def divisible(self) -> bool:
        """Whether a part of it serves too; otherwise only who goes on from its end."""
        ...


Held = TypeVar("Held", bound=Computed)


def longest(prompt: list[int], holders: Iterable[Held]) -> tuple[Held | None, int]:
    """Who holds most of a prompt's beginning, and how many tokens; the last is never counted,
    because its logits must be computed."""
    best, most = None, WORTHWHILE - 1
    for one in holders:
        limit = min(one.filled, len(prompt) - 1)
        if limit > most and one.tokens[:most] == prompt[:most]:
            common = shared(one.tokens, prompt, limit)
            if common > most and (one.divisible or common == one.filled):
                best, most = one, common
    return best, most if best is not None else 0


class Kept(Generic[Held]):
    """Runs that have ended, least recently used first; none holds only what another serves for."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, one: object) -> bool:
        return one in self._held

    def add(self, one: Held) -> list[Held]:
        """Keep one as the most recently used.

        Returns:
            Those that are not kept any more because they are its beginnings; or the one itself,
            where another serves for all of it: that is the most recently used then.
        """
        for other in self._held:
            if _serves(other, one):
                self.touch(other)
                return [one]
        covered = [other for other in self._held if _serves(one, other)]
        self._held = [other for other in self._held if other not in covered]
        self._held.append(one)
        return covered

    def touch(self, one: Held) -> None:
        """Note that one was used just now."""
        self._held.remove(one)
        self._held.append(one)

    def give_up(self) -> Held:
        """Take out the least recently used."""
        return self._held.pop(0)


def _serves(one: Computed, other: Computed) -> bool:
    """Whether whoever could use the other may as well use the one."""
    if one.divisible:
        enough = one.filled >= other.filled
    else:
        enough = one.filled == other.filled and not other.divisible
    return enough and one.tokens[: other.filled] == other.tokens[: other.filled]
