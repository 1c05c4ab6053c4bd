"""The event log: a bounded ring in memory, JSON lines on disk, one sequence over all restarts."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pydantic_core

from engine.home import disk
from engine.ledger import record
from engine.text import clean_line
from engine.types import Event

FILE_LIMIT = 20 * 1000 * 1000
"""Bytes of one file before it is rotated."""
FILES = 5
_CHUNK = 256 * 1024
_FIELDS = frozenset({"seq", "ts", "kind", "message", "model_id", "actor", "level", "data"})


def _event(line: bytes) -> Event | None:
    """One event, or None when these bytes are no whole one."""
    try:
        content: Any = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError:
        return None
    if type(content) is not dict or content.keys() != _FIELDS or type(content["seq"]) is not int:
        return None
    return Event(**content)


def _lines_backwards(path: Path) -> list[bytes]:
    """The last lines of a file, newest first, at most the last few megabytes."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 16 * _CHUNK)
        file.seek(start)
        lines = file.read().split(b"\n")
    if start:
        lines = lines[1:]  # begins in the middle of a line
    return [line for line in reversed(lines) if line]


class EventLog:
    """Every transition, override, release and refusal, with who did it.

    Each event is handed to the operating system at once, so a crash of this process loses none.
    :meth:`flush`, called about once a second off the event loop, waits until the medium has it:
    no screen may stand still for a disk, and the end of the machine takes a second along at most.

    Args:
        path: ``events.jsonl``; older files are ``events.jsonl.1`` to ``.4``.
        clock: Unix seconds.
        keep: Events held in memory.
        file_limit: Bytes before rotation.
        on_add: Called with every event once it is on record; it must neither wait nor raise.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        keep: int = 2000,
        *,
        file_limit: int = FILE_LIMIT,
        on_add: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.trouble: str | None = None
        """Why events are kept in memory only, in a sentence; None while they reach the disk."""
        self._clock = clock
        self._ring: deque[Event] = deque(maxlen=keep)
        self._unwritten: deque[Event] = deque(maxlen=keep)
        self._limit = file_limit
        self._on_add = on_add
        self._mutex = threading.RLock()
        self._descriptor: int | None = None
        self._size = 0
        self._unsynced = False
        self._recover(keep)
        self._seq = self._ring[-1].seq if self._ring else 0

    def _recover(self, keep: int) -> None:
        found: list[Event] = []
        for number in range(FILES):
            try:
                lines = _lines_backwards(self._numbered(number))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._report(error)
                continue
            found += [event for line in lines if (event := _event(line)) is not None]
            if len(found) >= keep:
                break
        self._ring.extend(sorted(found[:keep], key=lambda event: event.seq))

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def _report(self, error: OSError) -> None:
        self.trouble = (
            f"{clean_line(self.path.name)} cannot be written, events are kept in memory: "
            f"{error.strerror or error}"
        )

    def add(
        self,
        kind: str,
        message: str,
        *,
        model_id: str = "",
        actor: str = "",
        level: str = "info",
        data: Mapping[str, object] | None = None,
    ) -> Event:
        """Record that something happened. Never raises; see ``trouble``.

        Args:
            kind: Past tense, such as ``model_quarantined``.
            level: ``info``, ``warn`` or ``error``.
            data: Whatever explains it; cleaned and cut to a bounded size.
        """
        plain = record.plain(dict(data or {}))
        with self._mutex:
            self._seq += 1
            event = Event(
                seq=self._seq,
                ts=round(self._clock(), 6),
                kind=clean_line(kind, limit=80),
                message=clean_line(message, limit=2000),
                model_id=clean_line(model_id),
                actor=clean_line(actor, limit=200),
                level=level,
                data=plain if isinstance(plain, dict) else {},
            )
            self._ring.append(event)
            self._unwritten.append(event)
            try:
                self._write()
                self.trouble = None
            except OSError as error:
                self._report(error)
        self._on_add(event)
        return event

    def _write(self) -> None:
        """Write what is not on disk yet, oldest first. Raises OSError; then it stays to be done."""
        while self._unwritten:
            event = self._unwritten[0]
            names = ("seq", "ts", "kind", "message", "model_id", "actor", "level", "data")
            line = record.encode({name: getattr(event, name) for name in names}) + b"\n"
            descriptor = self._open_for(len(line))
            before = self._size
            try:
                disk.write_all(descriptor, line)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
            self._size += len(line)
            self._unwritten.popleft()
            self._unsynced = True

    def _open_for(self, more: int) -> int:
        """The file to write ``more`` bytes to, rotated if it is full. Raises OSError."""
        descriptor = self._open()
        if not self._size or self._size + more <= self._limit:
            return descriptor
        self.close()
        for number in range(FILES - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number - 1).replace(self._numbered(number))
        return self._open()

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags, disk.PRIVATE_FILE)
            self._size = os.fstat(self._descriptor).st_size
            if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
                # A torn last line stays as it is, on a line of its own.
                disk.write_all(self._descriptor, b"\n")
                self._size += 1
        return self._descriptor

    def after(self, seq: int) -> tuple[Event, ...]:
        """Events still in memory with a sequence above ``seq``, oldest first."""
        with self._mutex:
            if not self._ring or self._ring[-1].seq <= seq:
                return ()
            return tuple(event for event in self._ring if event.seq > seq)

    def history(self, after: int) -> Iterator[Event]:
        """Events on disk with a sequence above ``after``, oldest first. Blocks on the disk.

        Files are opened before the first one is read, so that a rotation meanwhile loses none.
        """
        with self._mutex, ExitStack() as opening:
            files = []
            for number in reversed(range(FILES)):
                with suppress(OSError):
                    descriptor = os.open(self._numbered(number), os.O_RDONLY | os.O_NONBLOCK)
                    files.append(opening.enter_context(os.fdopen(descriptor, "rb")))
            kept = opening.pop_all()
        with kept:
            for file in files:
                for line in file:
                    event = _event(line)
                    if event is not None and event.seq > after:
                        after = event.seq
                        yield event

    def latest(self, count: int) -> tuple[Event, ...]:
        """The newest events, newest last."""
        with self._mutex:
            return tuple(self._ring)[-count:] if count > 0 else ()

    @property
    def waiting(self) -> bool:
        """Whether something was written that the medium may not have yet."""
        return self._unsynced

    def flush(self) -> None:
        """Wait until everything written is on the medium. Never raises; see ``trouble``."""
        with self._mutex:
            if not self._unsynced or self._descriptor is None:
                return
            self._unsynced = False
            descriptor = os.dup(self._descriptor)
        try:
            disk.sync(descriptor)  # outside the lock: events go on meanwhile
        except OSError as error:
            self._report(error)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the file; the next event opens it again."""
        with self._mutex:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
