"""Writes that are still there after a crash of the process or of the machine."""

import errno
import fcntl
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def sync(descriptor: int) -> None:
    """Wait until a file's content is on the medium. Raises OSError when it is not.

    On macOS ``fsync`` leaves the data in the drive's own cache; ``F_FULLFSYNC`` empties that too
    (Apple's fsync(2)). File systems that do not know it fall back to ``fsync``.
    """
    if sys.platform == "darwin":
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file inside ``folder`` durable, where the system can do that."""
    with suppress(OSError):  # some network file systems refuse to open a folder for this
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte at the current position. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _create(path: Path, flags: int, data: bytes) -> None:
    """Put ``data`` into a private file and on the medium, or leave no file. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, PRIVATE_FILE)
    try:
        try:
            write_all(descriptor, data)
            sync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path`` in one step: readers see the old or the new, whole.

    One writer at a time: its caller holds a lock, so the fresh file needs no name of its own and
    a killed writer leaves one behind at most.

    Raises:
        OSError: it could not be written; ``path`` is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    _create(fresh, os.O_TRUNC | os.O_NOFOLLOW, data)
    try:
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def keep_aside(path: Path, data: bytes, now: float) -> Path:
    """Store damaged bytes of ``path`` beside it as ``<name>.corrupt-<time>`` and return where.

    Args:
        now: Unix seconds, for the name.

    Raises:
        OSError: they could not be stored; the caller must then leave the original alone.
    """
    aside = free_name(path, now)
    _create(aside, os.O_EXCL, data)
    sync_folder(path.parent)
    return aside


def read(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file; never waits for a FIFO or a device to answer.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read(limit)


def free_name(path: Path, now: float) -> Path:
    """A name for damaged bytes of ``path`` that nothing has yet."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(max(now, 0.0)))
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists() or aside.is_symlink():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    return aside
