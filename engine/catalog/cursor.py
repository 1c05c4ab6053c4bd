"""Reading a GGUF header front to back: little-endian values through a window that never grows."""

import re
import struct
from typing import NoReturn

from engine.catalog.header import HeaderError
from engine.catalog.regular import RegularFile

WINDOW = 256 * 1024
"""Bytes read from disk at once."""
MAX_HEADER = 128 * 1024 * 1024
"""Longest header in bytes. The largest vocabularies in use (262 thousand tokens with half a million
merges) take under 20 MiB; without a bound a sparse file could claim ten billion empty strings."""
MAX_STRING = 16 * 1024 * 1024
"""Longest single string in bytes; the longest real one is a chat template, under 1 MiB."""

_U64 = struct.Struct("<Q")
_U32 = struct.Struct("<I")
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-Fa-f]{2}>")


class Cursor:
    """A position in a file's header. Every read is checked against the file's size first."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file
        self._buffer = b""
        self._start = 0
        self._at = 0
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

    def skip_strings(self, count: int, what: str, *, byte_tokens: bool = False) -> int:
        """Go over an array of strings by their lengths alone, making no object of any.

        Args:
            byte_tokens: Count the distinct ``<0xNN>`` among them (a vocabulary's byte tokens).

        Returns:
            How many of the 256 byte tokens there are; 0 unless asked for.
        """
        found: set[bytes] = set()
        unpack = _U64.unpack_from
        left = count
        while left:
            self._require(8, what)
            buffer, at = self._buffer, self._at
            last = len(buffer) - 8
            while left and at <= last:
                length = unpack(buffer, at)[0]
                if length > MAX_STRING:
                    self._at = at
                    raise HeaderError(
                        f"at most {MAX_STRING:,} bytes for a string of {what}", f"{length:,} bytes"
                    )
                if byte_tokens and length == 6:
                    if at + 14 > len(buffer):
                        break
                    token = buffer[at + 8 : at + 14]
                    if token[0] == 0x3C and _BYTE_TOKEN.fullmatch(token):
                        found.add(token.upper())
                at += 8 + length
                left -= 1
            if at > len(buffer):
                position = self._start + at
                if position > self.end:
                    self._cut_short(at - self._at, what)
                self._seek(position)
            elif at == self._at:  # a byte token across the window's end: read on from here
                self._require(14, what)
            else:
                self._at = at
        return len(found)
