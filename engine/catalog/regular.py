"""Opening files nobody vouches for: regular files only, nothing that hangs, nothing unbounded."""

import contextlib
import errno
import fcntl
import json
import math
import os
import stat
import struct
import sys
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from engine.catalog.header import SNIFF_BYTES, HeaderError, Kind, NotRegular, sniff

CONFIG_CAP = 4 * 1024 * 1024
INDEX_CAP = 64 * 1024 * 1024
TOKENIZER_CAP = 256 * 1024 * 1024
"""Caps in bytes. A sparse tokenizer.json of 4 GiB took 43 s to fail."""

MAX_VALUES = 5_000_000
"""Most commas and brackets in one JSON file. The largest tokenizers in use have two million; each
may cost seventy bytes of Python objects."""
MAX_DEPTH = 64
"""Deepest nesting of a JSON file. Real ones go seven deep, and Python's own code for showing or
comparing values is recursive."""

_F_RDADVISE = 44
_RADVISORY = struct.Struct("=qi4x")
"""``struct radvisory`` of macOS (sys/fcntl.h): an offset and a count, filled up to 16 bytes."""
_EXPECTED = "a regular file"
_KINDS: dict[int | None, tuple[str, Kind]] = {
    errno.ENOENT: ("nothing there", Kind.MISSING),
    errno.ENOTDIR: ("nothing there: a part of the path is no folder", Kind.MISSING),
    errno.ENAMETOOLONG: ("a name too long for this file system", Kind.MISSING),
    errno.ELOOP: ("a loop of symbolic links", Kind.LOOP),
    errno.EACCES: ("no permission to read it", Kind.FORBIDDEN),
    errno.EPERM: ("no permission to read it", Kind.FORBIDDEN),
    errno.ENXIO: ("a socket or a device without a driver", Kind.SPECIAL),
}
_SPECIALS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


class RegularFile:
    """An open regular file, read by position. Use as a context manager.

    ``bytes_read`` counts what was asked of the disk, so that a test can hold a reader to its bound.
    """

    def __init__(self, path: Path, fd: int, status: os.stat_result) -> None:
        self.path = path
        self.status = status
        self.size = status.st_size
        self.bytes_read = 0
        self._fd = fd

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``; fewer only at the end of the file.

        Raises:
            HeaderError: the system could not read them.
        """
        parts: list[bytes] = []
        while count > 0:
            try:
                part = os.pread(self._fd, count, offset)
            except OSError as error:
                found = f"{error.strerror or error} at byte {offset:,}"
                raise HeaderError("a readable file", found, Kind.UNREADABLE) from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
            self.bytes_read += len(part)
        return b"".join(parts)

    def read_ahead(self, offset: int, count: int) -> None:
        """Ask the system to have these bytes in memory soon, without waiting for the disk.

        Where it cannot be asked, nothing happens.

        Args:
            count: Under 2 GiB: macOS counts them in 32 bits.
        """
        with contextlib.suppress(OSError):
            if sys.platform == "linux":
                os.posix_fadvise(self._fd, offset, count, os.POSIX_FADV_WILLNEED)
            elif sys.platform == "darwin":
                fcntl.fcntl(self._fd, _F_RDADVISE, _RADVISORY.pack(offset, count))

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _refuse(error: OSError) -> NoReturn:
    unknown = (str(error.strerror or error), Kind.UNREADABLE)
    found, kind = _KINDS.get(error.errno, unknown)
    raise NotRegular(_EXPECTED, found, kind) from error


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    what = next((name for test, name in _SPECIALS if test(status.st_mode)), "a special file")
    raise NotRegular(_EXPECTED, what, Kind.SPECIAL)


def open_regular(path: Path) -> RegularFile:
    """Open a file for reading if it is a regular one; never waits for a writer or a device.

    Symbolic links are followed: a Hugging Face cache is made of them. Where they may lead is for
    admission to say.

    Raises:
        NotRegular: it is missing, forbidden, a loop, or no regular file.
    """
    try:
        # Opening some devices has effects of its own, so look before opening, and again after.
        _require_regular(path.stat())
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        _refuse(error)
    except ValueError as error:  # a NUL in the path
        raise NotRegular(_EXPECTED, "a name no file can have", Kind.MISSING) from error
    try:
        status = os.fstat(fd)
        _require_regular(status)
    except OSError as error:
        os.close(fd)
        _refuse(error)
    except NotRegular:
        os.close(fd)
        raise
    return RegularFile(path, fd, status)


def read_bounded(path: Path, cap: int) -> bytes:
    """The whole content of a regular file of at most ``cap`` bytes.

    Raises:
        HeaderError: there is none, or it is longer; at most ``cap + 1`` bytes are read.
    """
    with open_regular(path) as file:
        if file.size <= cap:
            # One byte more than there should be: a file that grows is caught. Python reserves what
            # is asked for, so the cap itself would cost its size for every small file.
            data = file.read_at(0, file.size + 1)
            if len(data) <= cap:
                return data
        raise HeaderError(f"at most {cap:,} bytes", f"{max(file.size, cap + 1):,} bytes")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice!r} twice")
    return found


def _require_bounded(data: bytes) -> None:
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > MAX_VALUES:
        raise HeaderError(f"JSON of at most {MAX_VALUES:,} values", f"up to {values:,}")


def _require_shallow(value: object) -> None:
    """Go through a value level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise HeaderError("a JSON object", "nesting too deep to read")


def parse_json(data: bytes, *, unique: bool = False) -> dict[str, object]:
    """Parse bytes as one JSON object: UTF-8, no NaN or Infinity, no bottomless nesting.

    Args:
        unique: Refuse an object that has a name twice.

    Raises:
        HeaderError: they are none; the message says where it stops being JSON.
    """
    _require_bounded(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_unique if unique else None,
        )
    except RecursionError as error:
        raise HeaderError("a JSON object", "nesting too deep to read") from error
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        what, kind = sniff(data[:SNIFF_BYTES], len(data))
        known = kind is Kind.FOREIGN or not what.startswith("the bytes")
        found = what if known else f"something else: {error}"
        raise HeaderError("a JSON object", found, kind if known else Kind.DAMAGED) from error
    if not isinstance(value, dict):
        raise HeaderError("a JSON object", f"a JSON {type(value).__name__}")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _require_shallow(value)
    return value


def read_json(path: Path, cap: int) -> dict[str, object]:
    """Read a file that should hold one JSON object.

    Args:
        cap: Longest file in bytes; a longer one is refused after ``cap + 1`` bytes.

    Raises:
        HeaderError: it is no regular file, longer than ``cap``, or no JSON object.
    """
    return parse_json(read_bounded(path, cap))
