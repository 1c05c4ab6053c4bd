"""Has a model's files read into the page cache while the gate still works on them.

It only asks: the system reads when it has nothing better to do, and forgets what it needs the room
for. The pages of a file count as free memory.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

from engine.catalog.header import HeaderError
from engine.catalog.regular import open_regular

SLICE = 16 * 1024 * 1024
"""Bytes asked for at once. Linux queues the reads before it returns, and a disk that is behind
makes it wait; so much takes a slow one 0.1 s, and then it is seen whether to stop."""


class Readahead:
    """Asks for files slice by slice, in their order, until it is told to stop.

    Args:
        limit: Most bytes to ask for.
    """

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask for nothing more; from any thread."""
        self._stopped.set()

    def ask(self, paths: Iterable[Path]) -> None:
        """Ask for these files. Never raises: what is wrong with a file is the gate's to say."""
        for path in paths:
            try:
                with open_regular(path) as file:
                    for offset in range(0, file.size, SLICE):
                        if self._stopped.is_set() or self._room <= 0:
                            return
                        count = min(SLICE, file.size - offset, self._room)
                        file.read_ahead(offset, count)
                        self._room -= count
            except HeaderError:
                continue
