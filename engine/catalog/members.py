"""Going through a long JSON object member by member, so that no copy of it all is ever built.

``json.loads`` makes a hundred megabytes of safetensors header into gigabytes of objects.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import NoReturn

from engine.catalog.header import HeaderError
from engine.catalog.regular import RegularFile

MAX_VALUE = 64 * 1024
"""Longest value of one member in bytes; a tensor with 64 dimensions takes under two thousand."""
_PIECE = 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"')
_EXPECTED = "a JSON object"


class Members:
    """A JSON object's text, one character for each byte.

    UTF-8 is checked as it is read and then kept undecoded: brackets and quotes are the same bytes
    in both, and a text of a hundred megabytes stays one.
    """

    def __init__(self, file: RegularFile, start: int, length: int) -> None:
        """Read ``length`` bytes from ``start`` of a file.

        Raises:
            HeaderError: the file ends before, or this is not UTF-8.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        parts = []
        at = start
        while at < start + length:
            data = file.read_at(at, min(_PIECE, start + length - at))
            if not data:
                raise HeaderError(f"{length:,} bytes of header", f"{at - start:,}")
            try:
                decoder.decode(data, at + len(data) == start + length)
            except UnicodeDecodeError as error:
                raise HeaderError(_EXPECTED, f"bytes that are no UTF-8: {error.reason}") from error
            parts.append(data.decode("latin-1"))
            at += len(data)
        self._text = "".join(parts)
        self.end = 0
        """Where the value :meth:`names` spoke of last ends; for the caller to say."""

    @property
    def objects(self) -> int:
        """How many objects there can be in it at most; counts braces in names too."""
        return self._text.count("{")

    def _wrong(self, at: int) -> NoReturn:
        near = self._text[at : at + 20].encode("latin-1").decode("utf-8", "replace")
        raise HeaderError(_EXPECTED, f"something else at byte {at:,} of it: {near!r}")

    def _space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return at if found is None else found.end()

    def _string(self, at: int) -> tuple[str, int]:
        found = _STRING.match(self._text, at, at + MAX_VALUE)
        if found is None:
            self._wrong(at)
        try:
            return str(json.loads(found[0].encode("latin-1").decode("utf-8"))), found.end()
        except ValueError:
            self._wrong(at)

    def names(self, at: int = 0) -> Iterator[tuple[str, int]]:
        """Every name of the object at this place, and where its value begins.

        The caller must set :attr:`end` before it asks for the next.
        """
        at = self._space(at)
        if self._text[at : at + 1] != "{":
            self._wrong(at)
        at = self._space(at + 1)
        if self._text[at : at + 1] == "}":
            self.end = at + 1
            return
        while True:
            name, at = self._string(at)
            at = self._space(at)
            if self._text[at : at + 1] != ":":
                self._wrong(at)
            yield name, self._space(at + 1)
            at = self._space(self.end)
            if self._text[at : at + 1] == "}":
                self.end = at + 1
                return
            if self._text[at : at + 1] != ",":
                self._wrong(at)
            at = self._space(at + 1)

    def small(self, at: int) -> tuple[object, int]:
        """A value without objects inside it, and where it ends.

        Raises:
            HeaderError: it is damaged, longer than ``MAX_VALUE`` bytes, or an object with others.
        """
        if self._text[at : at + 1] == '"':
            return self._string(at)
        if self._text[at : at + 1] != "{":
            self._wrong(at)
        end = self._text.find("}", at, at + MAX_VALUE) + 1
        if not end:
            raise HeaderError(f"a description of at most {MAX_VALUE:,} bytes", "a longer one")
        try:
            text = self._text[at:end].encode("latin-1").decode("utf-8")
            return json.loads(text, object_pairs_hook=_unique), end
        except (ValueError, RecursionError):
            self._wrong(at)

    def require_end(self) -> None:
        """Nothing but white space follows.

        Raises:
            HeaderError: something does.
        """
        end = self._space(self.end)
        if end != len(self._text):
            self._wrong(end)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
