"""The ledger on disk: locked, looked at, mended and appended to in place, by several processes."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.home import disk
from engine.ledger.book import CLOSE, EMPTY, Record, Scan, other_layout, scan, whole_file
from engine.text import clean_line

_LOCK_WAIT_S = 5.0
_LOCK_POLL_S = 0.001


class RegistryTrouble(Exception):
    """The ledger could not be written or read; the message says why, in a sentence for people.

    Rows given to it stay known in memory and are written with the next append that succeeds.
    """


@dataclass(slots=True)
class Read:
    """What a look at the file found. After ``reset`` every record known before is void."""

    records: list[Record] = field(default_factory=list)
    reset: bool = False
    trouble: RegistryTrouble | None = None
    """Set when the file could not be read, or is damaged and could not be mended."""


class LedgerFile:
    """One open ledger. Every method but ``look`` wants the lock of :meth:`locked` to be held."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = Path(os.path.realpath(path))
        self.warnings: list[str] = []
        """What was found damaged and where it is now, for people."""
        self._clock = clock
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._writable = False
        self._end = 0
        """Where the closing bracket stands."""
        self._size = 0
        self._count = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock all writers share. Raises RegistryTrouble when it cannot be had."""
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, disk.PRIVATE_FILE)
        except OSError as error:
            raise self._trouble("be locked", error) from error
        try:
            self._wait(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        give_up = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                # A stopped process may hold it for ever; serving must not wait for that.
                if time.monotonic() > give_up:
                    raise RegistryTrouble(
                        f"{self.path.name} has been locked by another process "
                        f"for {_LOCK_WAIT_S:.0f} s"
                    ) from error
            except OSError as error:
                raise self._trouble("be locked", error) from error
            time.sleep(_LOCK_POLL_S)

    def _trouble(self, what: str, error: OSError) -> RegistryTrouble:
        return RegistryTrouble(f"{self.path.name} cannot {what}: {error.strerror or error}")

    def changed(self) -> bool:
        """Whether anything was written since the last look; one system call, no lock."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return self._descriptor is not None
        except OSError:
            return True
        return (now.st_dev, now.st_ino, now.st_size) != (*self._identity, self._size)

    def read(self, record: Record) -> bytes:
        """The JSON of one record; empty when it can no longer be read."""
        if self._descriptor is None:
            return b""
        try:
            return os.pread(self._descriptor, record.length, record.offset)
        except OSError:
            return b""

    def look(self, *, repair: bool) -> Read:
        """Take in what was written since the last look, and mend a damaged file. Never raises.

        Args:
            repair: Whether the lock is held, so that the file may be mended.
        """
        answer = Read()
        try:
            if self._descriptor is None or self._replaced():
                answer.reset = self._descriptor is not None
                if not self._open():
                    return answer
            assert self._descriptor is not None  # noqa: S101 - for the type checker
            size = os.fstat(self._descriptor).st_size
            if size < max(self._size, self._end + len(CLOSE)):
                self._end, self._count = 0, 0
            elif size == self._size and os.pread(self._descriptor, 3, self._end) == CLOSE:
                return answer
            data = self._bytes(self._descriptor, self._end, size)
        except OSError as error:
            answer.trouble = self._trouble("be read", error)
            return answer
        answer.reset = self._end == 0
        found = scan(data, self._end, first=self._count == 0)
        if found.tidy:
            answer.records = found.records
            self._end, self._size = self._end + len(data) - len(CLOSE), size
            self._count += len(found.records)
        elif not repair:
            # Another process may be in the middle of its append; what follows the records known
            # so far is taken in by the next look that holds the lock.
            answer.records = found.records if answer.reset else []
            self._size = -1
        else:
            self._mend(self._descriptor, data, found, answer)
        return answer

    def _replaced(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        return (now.st_dev, now.st_ino) != self._identity

    def _open(self) -> bool:
        """Open what is at the path now. False when there is nothing. Raises OSError."""
        self.close()
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in its place must not block us for ever
        try:
            descriptor = os.open(self.path, os.O_RDWR | flags)
            self._writable = True
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
            descriptor = os.open(self.path, os.O_RDONLY | flags)
            self._writable = False
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        self._descriptor, self._identity = descriptor, (now.st_dev, now.st_ino)
        return True

    @staticmethod
    def _bytes(descriptor: int, start: int, end: int) -> bytes:
        pieces: list[bytes] = []
        while start < end:
            piece = os.pread(descriptor, min(end - start, 1 << 26), start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def _mend(self, descriptor: int, data: bytes, found: Scan, answer: Read) -> None:
        try:
            laid_out = answer.reset and found.damaged and other_layout(data) is not None
            if found.in_place and not laid_out:
                self._mend_tail(descriptor, data, found)
                answer.records = found.records
                self._count += len(found.records)
            else:
                self._begin_anew(descriptor, answer)
        except OSError as error:
            answer.trouble = self._trouble("be mended", error)
            answer.records = found.records if answer.reset else []

    def _begin_anew(self, descriptor: int, answer: Read) -> None:
        """Damage between records, or another program's layout: put a fresh file in its place."""
        whole = self._bytes(descriptor, 0, os.fstat(descriptor).st_size)
        found = scan(whole, 0, first=True)
        bodies = [whole[r.offset : r.offset + r.length] for r in found.records]
        damaged: list[bytes] = []
        if found.damaged:
            bodies, damaged = other_layout(whole) or (bodies, found.damaged)
        where = self._keep(damaged)
        disk.replace(self.path, whole_file(bodies))
        if where is not None:
            self._warn_damaged(len(bodies), where)
        elif not whole.strip():
            self.warnings.append(f"{self.path.name} was empty; a new one was begun")
        self._open()
        fresh = self.look(repair=False)
        answer.records, answer.reset, answer.trouble = fresh.records, True, fresh.trouble

    def _mend_tail(self, descriptor: int, data: bytes, found: Scan) -> None:
        damaged = data[found.good - self._end :] if found.damaged else b""
        # Behind the opening bracket or a record the newline is missing too; at a closing bracket
        # it is there.
        close = CLOSE if found.good == self._end else b"\n" + CLOSE
        where = self._keep([damaged.strip(b"\n")] if damaged else [])
        os.pwrite(descriptor, close, found.good)
        os.ftruncate(descriptor, found.good + len(close))
        disk.sync(descriptor)
        self._end = found.good + len(close) - len(CLOSE)
        self._size = self._end + len(CLOSE)
        if where is not None:
            self._warn_damaged(self._count + len(found.records), where)
        elif not data.endswith(b"]"):
            self.warnings.append(
                f"{self.path.name} had lost its end, which was put back; no whole record was lost"
            )

    def _keep(self, damaged: Sequence[bytes]) -> Path | None:
        if not damaged:
            return None
        return disk.keep_aside(self.path, b"\n".join(damaged) + b"\n", self._clock())

    def _warn_damaged(self, kept: int, where: Path) -> None:
        self.warnings.append(
            f"{self.path.name} was damaged: {kept:,} whole records are kept, "
            f"the damaged bytes are in {clean_line(where.name)}"
        )

    def append(self, lines: Sequence[bytes]) -> list[int]:
        """Write records after the last one and wait until they are durable.

        Call :meth:`look` first, under the same lock. Returns where each record begins.

        Raises:
            RegistryTrouble: they could not be written; the file is as it was, or will be mended
                by the next look.
        """
        try:
            if self._descriptor is None:
                disk.replace(self.path, EMPTY)
                self._open()
                self._end, self._size, self._count = len(EMPTY) - len(CLOSE), len(EMPTY), 0
            assert self._descriptor is not None  # noqa: S101 - for the type checker
            if not self._writable:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            offsets: list[int] = []
            position, count = self._end, self._count
            pieces: list[bytes] = []
            for line in lines:
                piece = (b"," if count else b"") + line + b"\n"
                offsets.append(position + len(piece) - len(line) - 1)
                pieces.append(piece)
                position, count = position + len(piece), count + 1
            self._write(self._descriptor, b"".join(pieces) + CLOSE)
        except OSError as error:
            raise self._trouble("be written", error) from error
        self._end, self._size, self._count = position, position + len(CLOSE), count
        return offsets

    def _write(self, descriptor: int, data: bytes) -> None:
        try:
            if os.pwrite(descriptor, data, self._end) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - undone below
            disk.sync(descriptor)
        except OSError:
            with suppress(OSError):
                os.pwrite(descriptor, CLOSE, self._end)
                os.ftruncate(descriptor, self._end + len(CLOSE))
                disk.sync(descriptor)
            raise

    def close(self) -> None:
        """Let go of the file and forget every position. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._identity, self._end, self._size, self._count = (0, 0), 0, 0, 0
