"""What the shell waits for: a process that only stands for the console, so that the console can
go on without the shell.

A process cannot leave its shell and stay itself, and one with threads must not fork. So the
console is a child from the very start, when there are none; its parent waits, passes signals on,
and ends when the child ends or says that it goes on without a screen.
"""

import os
import signal
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

_RESTORED = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?7h"
)
"""Mouse and paste reports off, the usual keyboard, the usual screen, a cursor, wrapped lines."""
_MOST = 4096
_RESUME_S = 0.1


@dataclass(frozen=True, slots=True)
class Launch:
    """The console's side: how it tells its launcher, and hears that there is none any more."""

    words: int
    """Descriptor: what is written there is the launcher's last word."""
    life: int
    """Descriptor: at its end once the launcher is gone."""

    def go_on(self, words: str) -> None:
        """Leave the shell's session; the launcher says ``words`` and gives the shell its prompt."""
        with suppress(OSError):  # it leads one already
            os.setsid()
        with suppress(OSError):
            os.write(self.words, words.encode()[:_MOST])
        self.close()

    def close(self) -> None:
        """Have nothing to do with the launcher any more."""
        for descriptor in (self.words, self.life):
            with suppress(OSError):
                os.close(descriptor)


def launched(work: Callable[[Launch | None], int]) -> int:
    """Do the work in a child and wait for it; without a terminal, do it here.

    Call it while there is one thread only.

    Returns:
        In the child what ``work`` returns; in the launcher the child's exit status, or 0 once the
        child goes on by itself.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return work(None)
    looks = _looks()
    words, told = os.pipe()
    life, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(words)
        os.close(held)
        return work(Launch(told, life))
    os.close(told)
    os.close(life)
    return _wait(child, words, looks)


def _looks() -> "list[int | list[bytes | int]] | None":
    try:
        return termios.tcgetattr(sys.stdin.fileno())
    except termios.error:
        return None


def _wait(child: int, words: int, looks: "list[int | list[bytes | int]] | None") -> int:
    ended: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    def look(_number: int, _: FrameType | None) -> None:
        with suppress(ChildProcessError):
            found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                os.kill(os.getpid(), signal.SIGSTOP)  # until the shell says fg
                _resume(child)
            elif found:
                ended.append(status)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, pass_on)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the child itself
    signal.signal(signal.SIGCHLD, look)
    said = os.read(words, _MOST)
    if said:
        with suppress(OSError):  # the terminal may be what went
            os.write(sys.stdout.fileno(), said + b"\n")
        return 0
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while not ended:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            ended.append(status)
    return _status(ended[0], looks)


def _resume(child: int) -> None:
    """Have the child go on, unless the shell has said so to both: told twice, it would take its
    screen up twice."""
    until = time.monotonic() + _RESUME_S
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG | os.WCONTINUED)
        if found and os.WIFCONTINUED(status):
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGCONT)


def _status(status: int, looks: "list[int | list[bytes | int]] | None") -> int:
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    number = os.WTERMSIG(status)
    # Nobody else is left to give the terminal back as it was.
    with suppress(OSError, termios.error):
        if looks is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, looks)
        sys.stdout.write(_RESTORED)
        sys.stdout.flush()
    with suppress(OSError):
        name = signal.Signals(number).name
        print(f"lmx: the console was ended by {name}, its models with it", file=sys.stderr)
    return 128 + number
