"""How much of a prompt one step may take, so that cancels and streams get their turn."""

_ALONE_S = 1.0
"""Longest prefill step with nobody waiting for a token: a cancel or a heartbeat waits for it."""
_BESIDE_S = 0.15
"""The same beside running streams, which stand still meanwhile: a pause a reader hardly sees."""
_SMALLEST = 16
"""Below this the batch is too small for prefill to be worth its step."""
_EVEN = 64
"""A chunk of more is a multiple of this. llama.cpp multiplies in tiles: a token took 5 to 12 % more
processor time in chunks of 197 or 213 tokens than in chunks of 192 (measured)."""
_FIRST = 64
"""Tokens of the first step with nobody waiting, while the machine's pace is unknown."""


class PrefillPace:
    """Learns how fast prompts are read and sizes the next chunk by it.

    A fixed chunk cannot serve both a 135 M model (thousands of tokens a second) and a 70 B model
    on a CPU (two): the same 512 tokens take a blink there and four minutes here.

    Args:
        most: Largest chunk in tokens.
        smallest: Smallest chunk, where a backend gains less from a batch.
        first: The first chunk, while the pace is unknown; beside streams it is the smallest.
    """

    def __init__(self, most: int, *, smallest: int = _SMALLEST, first: int = _FIRST) -> None:
        self._most = most
        self._smallest = smallest
        self._first = first
        self._rate: float | None = None

    def budget(self, *, beside_streams: bool) -> int:
        """Tokens of prompt the next step may take."""
        if self._rate is None:
            return self._smallest if beside_streams else min(self._first, self._most)
        seconds = _BESIDE_S if beside_streams else _ALONE_S
        most = min(self._most, int(self._rate * seconds))
        return max(self._smallest, most - most % _EVEN if most > _EVEN else most)

    def measured(self, tokens: int, seconds: float) -> None:
        """Learn from a step that took this many prompt tokens and this long."""
        if tokens < self._smallest or seconds <= 0:
            return
        rate = tokens / seconds
        self._rate = rate if self._rate is None else (self._rate + rate) / 2
