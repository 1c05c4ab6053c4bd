"""The demo's clock: the real one, moved on by leaps; or one that stands still between them."""

from collections.abc import Callable


class DemoClock:
    """Unix seconds.

    Args:
        source: What the leaps are added to: ``time.time`` for a demo that is watched, a constant
            for one that is recorded.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self._leapt = 0.0

    def __call__(self) -> float:
        return self._source() + self._leapt

    def leap(self, seconds: float) -> None:
        """Move on."""
        self._leapt += seconds
