"""What each new token adds to a text, where only the tokenizer can say how tokens join."""

from collections.abc import Callable, Sequence

_BEFORE = 6
"""Prompt tokens the first new one is read after: some tokenizers drop the space of a first word."""
_PATIENCE = 16
"""A character has at most four bytes, so four tokens: more that end in half of one are broken."""


class Pieces:
    """Cuts a growing sequence of tokens into the text each adds.

    A token may end in the middle of a character; its text then comes with the token that
    completes it.

    Args:
        decode: Turns tokens into text.
        prompt: The tokens before the first new one.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt: Sequence[int]) -> None:
        self._decode = decode
        self._tokens = list(prompt[-_BEFORE:])
        self._read = len(self._tokens)

    def add(self, token: int) -> str:
        """The text that is complete with this token, maybe empty."""
        self._tokens.append(token)
        before = self._decode(self._tokens[: self._read])
        text = self._decode(self._tokens)
        unread = len(self._tokens) - self._read
        if text.endswith("\ufffd") and unread < _PATIENCE:
            return ""
        del self._tokens[: self._read]
        self._read = len(self._tokens)
        return text[len(before) :]

    def finish(self) -> str:
        """The text of tokens that never completed a character."""
        before = self._decode(self._tokens[: self._read])
        text = self._decode(self._tokens)
        self._tokens.clear()
        self._read = 0
        return text[len(before) :]
