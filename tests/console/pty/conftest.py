"""The real console in a real terminal: a pseudo-terminal whose screen is read back by pyte."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyte
import pytest

from engine import read_engine
from tests.process import workers_below

PATIENCE_S = 60.0


class Terminal:
    """One ``lmx`` process behind a terminal of its own.

    Args:
        command: What to run instead of the console, such as an ssh client.
    """

    def __init__(
        self,
        environment: dict[str, str],
        size: tuple[int, int],
        arguments: list[str],
        command: tuple[str, ...] = (sys.executable, "-m", "console"),
    ) -> None:
        columns, rows = size
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self._mutex = threading.Lock()
        self._open = True
        self.frozen = False
        """While true nothing is read: what a line does that has gone dead without a word."""
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            # The terminal must be the child's own, or closing it would hang nobody up.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._open:
            try:
                if self.frozen or not select.select([self._master], [], [], 0.1)[0]:
                    time.sleep(0.1 * self.frozen)
                    continue
                data = os.read(self._master, 65536)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self._mutex:
                self.received += data
                self._stream.feed(data)

    @property
    def text(self) -> str:
        """What the screen shows now."""
        with self._mutex:
            return "\n".join(line.rstrip() for line in self.screen.display)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def wait_for(self, *texts: str, patience_s: float = PATIENCE_S) -> str:
        """Wait until the screen shows every text; fails with the screen."""
        return self.wait_until(lambda s: all(t in s for t in texts), f"{texts}", patience_s)

    def wait_until(
        self, holds: Callable[[str], bool], what: str, patience_s: float = PATIENCE_S
    ) -> str:
        """Wait until the screen satisfies a condition; fails with the screen."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if holds(shown := self.text):
                return shown
            time.sleep(0.02)
        pytest.fail(f"never saw {what}; the screen was\n{self.text}")

    def wait_for_end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended; returns its status."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running; the screen was\n{self.text}")

    def console(self) -> psutil.Process:
        """The console itself; the process that was started only stands for it."""
        [own] = psutil.Process(self.process.pid).children()
        return own

    def workers(self) -> list[psutil.Process]:
        """The worker processes under it."""
        try:
            return workers_below(psutil.Process(self.process.pid))
        except psutil.NoSuchProcess:
            return []

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size."""
        with self._mutex:
            self.screen.resize(rows, columns)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def hang_up(self) -> None:
        """Close the window."""
        self._open = False
        self._reader.join()
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """Leave nothing behind."""
        self._open = False
        self._reader.join()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self._master >= 0:
            os.close(self._master)


Opener = Callable[..., Terminal]


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a console whose home and models lie in a folder and nowhere else."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "LMX_HOME": str(folder / "home"),
        "LMX_FOLDERS": json.dumps([str(folder / "models")]),
        "LMX_LMSTUDIO": str(folder / "none"),
        "LMX_STARTER": "false",
        "LMX_SPARE": "false",
        "LMX_API": "127.0.0.1:0",
        "HF_HUB_CACHE": str(folder / "none"),
    }


def write_simulated(folder: Path, model_id: str, **script: Any) -> str:
    """Make a simulated model that loads at once; returns its id."""
    place = folder / "models" / model_id
    place.mkdir(parents=True)
    quick = {"kind": "simulated", "weights_gb": 0.1, "load_seconds": 0.05}
    (place / "simulated.json").write_text(json.dumps(quick | script))
    return model_id


@pytest.fixture
def open_console(tmp_path: Path) -> Iterator[Opener]:
    """Open a console on a home of the test's own, with simulated models only."""
    opened: list[Terminal] = []
    (tmp_path / "models").mkdir()
    (tmp_path / "none").mkdir()

    def start(*arguments: str, size: tuple[int, int] = (120, 36), **environment: str) -> Terminal:
        terminal = Terminal(surroundings(tmp_path) | environment, size, list(arguments))
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., str]:
    """Make a simulated model; returns its id."""

    def make(model_id: str, **script: Any) -> str:
        return write_simulated(tmp_path, model_id, **script)

    return make


def gone(process: psutil.Process) -> bool:
    """Whether a process is no more."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def all_gone(processes: list[psutil.Process], patience_s: float) -> bool:
    """Wait until every process is no more."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if all(gone(process) for process in processes):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def left_behind(tmp_path: Path) -> Iterator[None]:
    """Whatever goes on without a terminal is ended."""
    yield
    if (pid := engine_of(tmp_path)) is not None and psutil.pid_exists(pid):
        engine = psutil.Process(pid)
        engine.kill()
        all_gone([engine], 10.0)


def engine_of(tmp_path: Path) -> int | None:
    about = read_engine(tmp_path / "home" / "engine.json")
    return about[0] if about else None
