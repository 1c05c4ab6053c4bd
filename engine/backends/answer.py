"""One request's answer on its way out: its text, its tokens counted, and their chances."""

from typing import Literal

from engine.backends.base import StepEvent
from engine.backends.transcript import Transcript
from engine.workers.protocol import Delta, Finished, Generate, TokenChance

Reason = Literal["stop", "length", "cancelled"]

_SILENT_TOKENS = 8
"""After so many tokens without text (control tokens, a stop text held back) a delta goes out
anyway: the parent must see that the request lives."""


class Answer:
    """Gathers what a request's tokens add and tells it in deltas, every token in exactly one.

    Args:
        request: The request.
        prompt_tokens: Length of its prompt.
    """

    def __init__(self, request: Generate, prompt_tokens: int) -> None:
        self._id = request.id
        self._transcript = Transcript(request.sampling.stop)
        self._unsent = 0
        self._chances: list[TokenChance] = []
        self.prompt_tokens = prompt_tokens
        self.cached_tokens = 0
        """Tokens of the prompt that were in the cache already."""
        self.generated = 0
        """Tokens drawn, the one that ended the text not counted."""

    @property
    def stopped(self) -> bool:
        """Whether a stop text was met."""
        return self._transcript.stopped

    def add(
        self, piece: bytes | str, events: list[StepEvent], chance: TokenChance | None = None
    ) -> None:
        """Take a token's piece and tell what may be told now."""
        self.generated += 1
        self._unsent += 1
        if chance is not None:
            self._chances.append(chance)
        text = self._transcript.push(piece)
        if text or self._unsent >= _SILENT_TOKENS:
            self._send(text, events)

    def end(self, reason: Reason, events: list[StepEvent], rest: str = "") -> None:
        """Tell what was held back, and the end.

        Args:
            rest: Text of tokens already added that comes only now.
        """
        if reason != "cancelled":
            text = self._transcript.push(rest) + self._transcript.finish()
            if text or self._unsent:
                self._send(text, events)
        events.append(
            Finished(
                id=self._id,
                reason="stop" if self.stopped else reason,
                prompt_tokens=self.prompt_tokens,
                completion_tokens=self.generated,
                cached_tokens=self.cached_tokens,
            )
        )

    def _send(self, text: str, events: list[StepEvent]) -> None:
        if self._chances:
            chances = tuple(self._chances)
            events.append(Delta(id=self._id, text=text, tokens=self._unsent, chances=chances))
            self._chances.clear()
        else:
            events.append(Delta(id=self._id, text=text, tokens=self._unsent))
        self._unsent = 0
