"""The home folder: its paths, and the lock that lets one engine at a time live in it."""

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from engine.home import disk
from engine.text import clean_line

_SAME_START_S = 2.0
"""Clock slack when a process's start is compared with the time in ``engine.json``."""


class HomeTaken(Exception):
    """Another engine lives here. The message says which process, since when, and its address."""


class HomeUnusable(Exception):
    """The folder cannot be used as a home; the message says why, in a sentence for people."""


class Home:
    """One home folder and everything that lies in it.

    Args:
        path: ``LMX_HOME``; created with mode 0700 by :meth:`take`.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.registry = path / "compatibility-registry.json"
        self.state = path / "state.json"
        self.events = path / "events.jsonl"
        self.config = path / "config.toml"
        self.models = path / "models"
        self.logs = path / "logs"
        self.sim_state = path / "simulated"
        """Where simulated models keep count of their faults."""
        self.capabilities = path / "capabilities.json"
        self.api_key = path / "api-key"
        self.admin_key = path / "admin-key"
        self.lock = path / "engine.lock"
        self.engine = path / "engine.json"
        self.trouble: str | None = None
        """Set when ``engine.json`` could not be written: others cannot find this engine."""
        self._clock = clock
        self._descriptor: int | None = None
        self._since = 0.0

    def take(self, address: str = "") -> None:
        """Become the engine of this home. A second one touches no file here.

        Args:
            address: Where the API answers, or empty; see :meth:`publish`.

        Raises:
            HomeTaken: another process is.
            HomeUnusable: the folder is none, or may not be written.
        """
        if self._descriptor is not None:
            return
        try:
            self.path.mkdir(mode=disk.PRIVATE_FOLDER, parents=True, exist_ok=True)
            descriptor = self._open_lock()
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN}:
                raise HomeTaken(self._holder()) from error
            raise self._unusable(error) from error
        try:
            self._furnish()
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        self._descriptor, self._since = descriptor, self._clock()
        self.publish(address)

    def check(self) -> None:
        """See :func:`check_home`."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeTaken(self._holder()) from error
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        try:
            return os.open(self.lock, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return os.open(self.lock, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, disk.PRIVATE_FILE)

    def _furnish(self) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode)
        ours = self.state.exists() or not any(p != self.lock for p in self.path.iterdir())
        if mode & 0o022 and not ours:
            why = "others may write in it, and it holds other things"
            raise OSError(errno.EPERM, f"{why}; name a folder of its own", str(self.path))
        if mode & 0o077 and ours:
            self.path.chmod(disk.PRIVATE_FOLDER)
        for folder in (self.logs, self.sim_state):
            folder.mkdir(mode=disk.PRIVATE_FOLDER, exist_ok=True)
        # A folder that can be read but not written shows itself only when something is written.
        probe = self.path / f".probe-{os.getpid()}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, disk.PRIVATE_FILE))
        probe.unlink()

    def _unusable(self, error: OSError) -> HomeUnusable:
        why = error.strerror or str(error)
        where = clean_line(str(error.filename or self.path))
        return HomeUnusable(
            f"{clean_line(str(self.path))} cannot be the home folder: {where}: {why}. "
            "Mend it, or set LMX_HOME to a folder you may write"
        )

    def publish(self, address: str) -> None:
        """Say in ``engine.json`` where this engine answers; commands find it by that. A home that
        was let go is another's to say it of."""
        if self._descriptor is None:
            return
        about = {"pid": os.getpid(), "address": address, "since": self._since}
        try:
            disk.replace(self.engine, json.dumps(about).encode() + b"\n")
            self.trouble = None
        except OSError as error:
            self.trouble = f"{self.engine.name} cannot be written: {error.strerror or error}"

    def _holder(self) -> str:
        """Who lives here, in a sentence; what ``engine.json`` says is checked, it may be old."""
        where = clean_line(str(self.path))
        about = read_engine(self.engine)
        if about is None:
            return f"{where} is in use by another engine that has not said who it is"
        pid, address, since = about
        command = _command(pid, since)
        if command is None:
            return f"{where} is in use by another engine that has not said who it is"
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
        answers = f", answering at {address}" if address else ""
        return f"{where} is in use by process {pid} ({command}) since {started}{answers}"

    def let_go(self) -> None:
        """Leave the home to others. Safe to call twice."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            self.engine.unlink()
        # The lock file stays: removing it would let two engines lock two different files.
        os.close(self._descriptor)
        self._descriptor = None


def check_home(path: Path) -> None:
    """Look whether an engine could live here, without touching a file.

    Raises:
        HomeTaken: another process is the engine of this home.
        HomeUnusable: the folder is there and cannot be used.
    """
    Home(path).check()


def read_engine(path: Path) -> tuple[int, str, float] | None:
    """What ``engine.json`` says: pid, address and start; None when it says nothing readable."""
    try:
        about = json.loads(disk.read(path, 64 * 1024))
        return int(about["pid"]), clean_line(str(about["address"])), float(about["since"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _command(pid: int, since: float) -> str | None:
    """The command line of a process, or None when it is not the one that wrote the file."""
    try:
        process = psutil.Process(pid)
        if process.create_time() > since + _SAME_START_S:
            return None  # the number was given out again
        return clean_line(" ".join(process.cmdline()) or process.name(), limit=120)
    except (psutil.Error, ValueError, OverflowError):
        return None
