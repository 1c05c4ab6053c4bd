"""Tells the outside of events: runs the operator's command with each event on standard input.

One command at a time, in a thread of its own: neither a slow command nor a broken one delays
anything. What cannot be told is counted and shown as ``trouble``, never tried twice.
"""

import contextlib
import json
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict

from engine.settings import Settings
from engine.text import clean_bytes, clean_line
from engine.types import Event

WAITING = 100
"""Events that may wait for the command; more are dropped and counted."""
TIMEOUT_S = 30.0
_GRACE_S = 1.0
"""How long the engine's end waits for what is still to be told: `lmx` must be gone in 2 s."""
_ERROR_TAIL = 4096
# Enough to find programs, mail and the desktop; no key or token.
_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
)


class Announcer:
    """Runs ``on_event``. :meth:`offer` may be called from any thread.

    Args:
        settings: ``on_event`` and ``on_event_kinds``.
        host: The name of this host, told with every event.
        timeout_s: How long one command may take before it is killed with all it started.
        environment: What the command's environment is drawn from; None means this process's.
    """

    def __init__(
        self,
        settings: Settings,
        host: str,
        *,
        timeout_s: float = TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.trouble: str | None = None
        """Why the last event was not told, in a sentence; None once one was told again."""
        self._command = shlex.split(settings.on_event or "")
        self._kinds = frozenset(settings.on_event_kinds)
        self._host = host
        self._timeout_s = timeout_s
        source = os.environ if environment is None else environment
        self._environment = {name: source[name] for name in _KEPT if name in source}
        self._waiting: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._dropped = 0
        self._closed = threading.Event()
        self._given_up = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        if self._command:
            self._thread = threading.Thread(target=self._work, name="on-event", daemon=True)
            self._thread.start()

    def offer(self, event: Event) -> None:
        """Have an event told if its kind is wanted. Neither waits nor raises."""
        if self._thread is None or self._closed.is_set():
            return
        if event.kind not in self._kinds and "*" not in self._kinds:
            return
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._dropped += 1
            self.trouble = (
                f"on_event: {self._dropped:,} events were not told, "
                f"{WAITING} were still waiting for the command"
            )

    def close(self) -> None:
        """Take no more, give what waits a moment, then kill the command that runs."""
        if self._thread is None or self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_GRACE_S)
        self._given_up.set()
        if (running := self._running) is not None:
            _kill(running)
            self._thread.join(_GRACE_S)

    def _work(self) -> None:
        # Once closed, a full queue has no room for the mark of its end: then it ends when empty.
        while (event := self._next()) is not None and not self._given_up.is_set():
            if failure := self._tell(event):
                self.trouble = clean_line(f"on_event: {self._command[0]} {failure}", limit=400)
            elif self._waiting.empty() or not self._dropped:
                self.trouble, self._dropped = None, 0

    def _next(self) -> Event | None:
        try:
            return self._waiting.get(block=not self._closed.is_set())
        except queue.Empty:
            return None

    def _tell(self, event: Event) -> str:
        """Run the command once; returns what went wrong, or empty."""
        body = json.dumps({**asdict(event), "host": self._host}, default=str).encode() + b"\n"
        # Files, not pipes: a command may leave its input unread, and what it starts in the
        # background may keep a pipe open for ever.
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as said:
            told.write(body)
            told.seek(0)
            try:
                running = self._running = subprocess.Popen(
                    self._command,
                    stdin=told,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env=self._environment,
                    cwd="/",
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                return f"did not start: {error}"
            try:
                status = running.wait(self._timeout_s)
            except subprocess.TimeoutExpired:
                _kill(running)
                running.wait()
                return f"took longer than {self._timeout_s:g} s and was killed"
            finally:
                self._running = None
            if not status:
                return ""
            said.seek(max(0, said.seek(0, os.SEEK_END) - _ERROR_TAIL))
            words = clean_line(clean_bytes(said.read()).strip(), limit=200)
            return f"ended with status {status}" + (f": {words}" if words else "")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and everything it started: it leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
