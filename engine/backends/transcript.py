"""A request's text as it grows: bytes become characters, and no stop text is ever let through.

Tokens end in the middle of characters and of stop texts. What may still turn out to be part of
either is held back until it is known, so a reader sees the same text however it was cut.
"""

import codecs


class Transcript:
    """Turns pieces of output into text that is safe to send on.

    Args:
        stops: Texts that end the output; they and what follows are never returned. Of two that
            overlap, the one that is complete first counts. Empty ones are ignored.
    """

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        # A model may end in half a character or write bytes that are none: both become U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False
        """Whether a stop text was met; nothing is returned after it."""

    def push(self, piece: bytes | str) -> str:
        """Add a piece and return the new text that may be shown, often none."""
        text = self._decoder.decode(piece) if isinstance(piece, bytes) else piece
        return self._advance(text)

    def finish(self) -> str:
        """Return what was held back: the output ended without completing a stop text."""
        text = self._advance(self._decoder.decode(b"", True))
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _advance(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        met = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if met:
            self.stopped = True
            self._held = ""
            return text[: min(met)[1]]
        split = len(text) - self._undecided(text)
        self._held = text[split:]
        return text[:split]

    def _undecided(self, text: str) -> int:
        """Length of the longest end of ``text`` that a stop text begins with."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
