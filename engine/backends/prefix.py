"""What two runs of tokens have in common at their beginning."""

from collections.abc import Sequence

WORTHWHILE = 8
"""Fewer tokens in common are not worth taking from a cache."""


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
