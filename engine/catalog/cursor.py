"""Reading a GGUF header front to back: little-endian values through a window that never grows."""

import re
import struct
from typing import NamedTuple, NoReturn

from engine.catalog.header import HeaderError
from engine.catalog.regular import RegularFile

WINDOW = 256 * 1024
"""Bytes read from disk at once."""
MAX_HEADER = 128 * 1024 * 1024
"""Longest header in bytes. The largest vocabularies in use (262 thousand tokens with half a million
merges) take under 20 MiB; without a bound a sparse file could claim ten billion empty strings."""
MAX_STRING = 16 * 1024 * 1024
"""Longest single string in bytes; the longest real one is a chat template, under 1 MiB."""

MAX_KEPT = 16 * 1024 * 1024
"""Most bytes of metadata kept as text or numbers. Python's objects take a multiple of it, and the
longest real ones (a template, a licence, one number for each layer) are under 1 MiB together."""
MAX_TOLD_APART = 1_000_000
"""Longest vocabulary whose tokens are told apart; four times the largest in use."""

_U64 = struct.Struct("<Q")
_U32 = struct.Struct("<I")
# Upper case, as llama.cpp spells a byte when it looks for its token.
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-F]{2}>")


class Strings(NamedTuple):
    """What was seen of an array of strings that was gone over."""

    byte_tokens: int = 0
    """How many of the 256 tokens ``<0x00>`` to ``<0xFF>`` there are."""
    distinct: bool = True
    """Whether no two are the same to llama.cpp, which ends a string at its first zero byte."""


class Tokens:
    """Remembers a vocabulary's tokens one by one, as numbers rather than as texts."""

    def __init__(self) -> None:
        self._bytes: set[bytes] = set()
        self._seen: set[int] = set()
        self._count = 0

    def add(self, token: bytes) -> None:
        """Take one token in."""
        if len(token) == 6 and _BYTE_TOKEN.fullmatch(token):
            self._bytes.add(token)
        if 0 in token:
            token = token[: token.index(0)]
        if token:  # llama.cpp gives every empty token a name of its own
            self._count += 1
            self._seen.add(hash(token))

    @property
    def found(self) -> Strings:
        """What there was among them."""
        return Strings(len(self._bytes), len(self._seen) == self._count)


class Cursor:
    """A position in a file's header. Every read is checked against the file's size first."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file
        self._buffer = b""
        self._start = 0
        self._at = 0
        self._kept = 0
        self.end = file.size

    @property
    def position(self) -> int:
        """Bytes from the beginning of the file."""
        return self._start + self._at

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self.end - self.position

    def _cut_short(self, need: int, what: str) -> NoReturn:
        left = max(self.remaining, 0)
        raise HeaderError(
            f"{need:,} bytes for {what} at byte {self.position:,}",
            f"{left:,} bytes to the end of the file; it looks cut short",
        )

    def _seek(self, position: int) -> None:
        if position > MAX_HEADER:
            raise HeaderError(
                f"a header of at most {MAX_HEADER:,} bytes", f"one of at least {position:,} bytes"
            )
        self._start, self._at, self._buffer = position, 0, b""

    def _require(self, count: int, what: str) -> None:
        if count > self.remaining:
            self._cut_short(count, what)
        if self._at + count > len(self._buffer):
            position = self.position
            self._seek(position)
            self._buffer = self._file.read_at(position, max(WINDOW, count))
            if len(self._buffer) < count:  # the file shrank since it was opened
                self.end = position + len(self._buffer)
                self._cut_short(count, what)

    def take(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes.

        Raises:
            HeaderError: the file, or what a header may take, ends before.
        """
        self._require(count, what)
        data = self._buffer[self._at : self._at + count]
        self._at += count
        return data

    def u32(self, what: str) -> int:
        """The next four bytes as an unsigned number."""
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        """The next eight bytes as an unsigned number."""
        return int(_U64.unpack(self.take(8, what))[0])

    def skip(self, count: int, what: str) -> None:
        """Go on by ``count`` bytes without reading them."""
        if count > self.remaining:
            self._cut_short(count, what)
        if self._at + count <= len(self._buffer):
            self._at += count
        else:
            self._seek(self.position + count)

    def string(self, what: str, limit: int = MAX_STRING) -> bytes:
        """A string with its length before it.

        Args:
            limit: Longest one allowed, in bytes.
        """
        length = self.u64(f"the length of {what}")
        if length > self.remaining:
            self._cut_short(length, what)
        if length > limit:
            raise HeaderError(f"at most {limit:,} bytes for {what}", f"{length:,} bytes")
        return self.take(length, what)

    def keep(self, count: int, what: str) -> None:
        """Account for ``count`` bytes of metadata that will be kept.

        Raises:
            HeaderError: it is more than a header may have of it.
        """
        self._kept += count
        if self._kept > MAX_KEPT:
            raise HeaderError(
                f"at most {MAX_KEPT:,} bytes of texts and numbers in the metadata",
                f"{self._kept:,} bytes with {what}",
            )

    def skip_strings(self, count: int, what: str, *, vocabulary: bool = False) -> Strings:
        """Go over an array of strings by their lengths alone, keeping none.

        Args:
            vocabulary: Look at each one, to find byte tokens and repeated ones.
        """
        tokens = Tokens() if vocabulary and count <= MAX_TOLD_APART else None
        unpack = _U64.unpack_from
        left = count
        while left:
            self._require(8, what)
            buffer, at = self._buffer, self._at
            last = len(buffer) - 8
            need = 0
            while left and at <= last:
                length = unpack(buffer, at)[0]
                if length > MAX_STRING:
                    self._at = at
                    raise HeaderError(
                        f"at most {MAX_STRING:,} bytes for a string of {what}", f"{length:,} bytes"
                    )
                if tokens is not None:
                    if at + 8 + length > len(buffer):
                        need = 8 + length
                        break
                    tokens.add(buffer[at + 8 : at + 8 + length])
                at += 8 + length
                left -= 1
            if at > len(buffer):
                position = self._start + at
                if position > self.end:
                    self._cut_short(at - self._at, what)
                self._seek(position)
            else:
                self._at = at
                if need:  # a token across the window's end: read on from its beginning
                    self._require(need, what)
        return Strings() if tokens is None else tokens.found
