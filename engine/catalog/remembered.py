"""What was read of a file, kept for as long as nothing has touched the file."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from engine.catalog.regular import RegularFile

T = TypeVar("T")
KEPT = 8
"""Files remembered; the one not asked for the longest is forgotten first."""
SETTLED_S = 2.0
"""A file touched less long ago is not remembered: its times might stay the same through the next
change, since a file system counts them in ticks (4 to 10 ms; 2 s on FAT)."""


class Remembered(Generic[T]):
    """A few readings, by the identity, size and times of their files. Safe to use from threads.

    Args:
        worth: Whether a reading is to be kept; what is quickly read again is not.
        clock: Unix seconds.
    """

    def __init__(
        self, worth: Callable[[T], bool], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._worth = worth
        self._clock = clock
        self._mutex = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], T] = OrderedDict()
        self._reading: dict[tuple[int, ...], threading.Lock] = {}

    def read(self, file: RegularFile, parse: Callable[[RegularFile], T]) -> T:
        """What ``parse`` says of this very file, now or before. Two threads that want the same
        file at once have it parsed once."""
        key = _key(file)
        with self._mutex:
            turn = self._reading.setdefault(key, threading.Lock())
        try:
            with turn:
                with self._mutex:
                    if (found := self._kept.get(key)) is not None:
                        self._kept.move_to_end(key)
                        return found
                reading = parse(file)
                self._keep(key, file, reading)
                return reading
        finally:
            with self._mutex:
                self._reading.pop(key, None)

    def _keep(self, key: tuple[int, ...], file: RegularFile, reading: T) -> None:
        touched = max(file.status.st_mtime, file.status.st_ctime)
        if self._clock() - touched < SETTLED_S or not self._worth(reading):
            return
        with self._mutex:
            self._kept[key] = reading
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _key(file: RegularFile) -> tuple[int, ...]:
    status = file.status
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)
