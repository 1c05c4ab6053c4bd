"""What each new token adds to a text, where only the tokenizer can say how tokens join."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

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


class Spelling:
    """The bytes of single tokens, whose text alone may be half a character.

    Args:
        tokenizer: mlx-lm's wrapper around the one of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @functools.cached_property
    def _added(self) -> dict[int, str]:
        added = getattr(self._tokenizer, "added_tokens_decoder", {})
        return {at: str(token) for at, token in added.items()}

    @functools.cached_property
    def _kind(self) -> str:
        # What mlx-lm made of the tokenizer's decoder tells how its vocabulary is written.
        return type(self._tokenizer.detokenizer).__name__

    def __call__(self, token: int) -> bytes:
        """The bytes, control tokens by their names."""
        if token in self._added:
            return self._added[token].encode()
        name = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(name, str):
            return b""  # a model's vocabulary may be padded beyond its tokenizer's
        if self._kind == "BPEStreamingDetokenizer" and all(sign in _BYTES for sign in name):
            return bytes(_BYTES[sign] for sign in name)
        if self._kind == "SPMStreamingDetokenizer":
            if _HEXADECIMAL.fullmatch(name):
                return bytes.fromhex(name[3:5])
            return name.replace("\u2581", " ").encode()
        return str(self._tokenizer.decode([token])).encode()


def _byte_signs() -> dict[str, int]:
    """How byte-level vocabularies (GPT-2's and all after it) write each byte as a visible sign."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in plain]
    signs = {chr(byte): byte for byte in plain}
    return signs | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_signs()
_HEXADECIMAL = re.compile(r"<0x[0-9A-Fa-f]{2}>")
