"""Facts of the terminal the console runs in, its clipboard, and the signals that end it."""

import asyncio
import base64
import codecs
import getpass
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

OSC52_LIMIT = 74_994
"""Most terminals and tmux take no longer sequence; xterm's own limit, in base64 bytes."""

STOP_LIMIT_S = 10.0
"""An engine that has not stopped by then is left behind; its workers end by themselves."""
HANG_UP_S, HANG_UP_GRACE_S = 1.6, 0.4
"""A hang-up ends the process so soon after the signal, but leaves it so long after the engine has
stopped: Textual may wait for ever on a terminal that is gone."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the environment says of the terminal, read once at start."""

    tty: bool
    dumb: bool
    no_color: bool
    utf8: bool
    ssh: bool
    tmux: bool
    actor: str
    few_colours: bool = False
    """Sixteen colours or fewer: our own would be told apart no more, the cursor line included."""

    @property
    def ascii_only(self) -> bool:
        """True where box and glyph characters would come out as garbage."""
        return not self.utf8

    @property
    def mouse(self) -> bool:
        """Mouse reporting takes the terminal's own selection away: off over SSH by default."""
        return not self.ssh

    @property
    def usable(self) -> bool:
        """True if a full-screen program can run here."""
        return self.tty and not self.dumb


def read_terminal(
    environ: Mapping[str, str] | None = None,
    *,
    tty: bool | None = None,
    encoding: str | None = None,
    user: str | None = None,
) -> Terminal:
    """Read the facts from the environment and the standard streams.

    Args:
        environ: Instead of ``os.environ``.
        tty, encoding, user: Instead of what the process has.
    """
    env = os.environ if environ is None else environ
    if tty is None:
        tty = sys.stdin.isatty() and sys.stdout.isatty()
    ssh = bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY") or env.get("SSH_CLIENT"))
    return Terminal(
        tty=tty,
        dumb=env.get("TERM", "") in ("", "dumb"),
        # no-color.org: present and not empty.
        no_color=bool(env.get("NO_COLOR")),
        utf8=_is_utf8(encoding or sys.stdout.encoding or "ascii") and not _posix_locale(env),
        ssh=ssh,
        tmux=bool(env.get("TMUX")),
        actor=actor_name(env, user),
        few_colours=_few_colours(env),
    )


def _few_colours(env: Mapping[str, str]) -> bool:
    """As the library that writes them decides: truecolour by COLORTERM, 256 by TERM's end."""
    if env.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return False
    return env.get("TERM", "").rpartition("-")[2] not in ("256color", "kitty")


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False


def _posix_locale(env: Mapping[str, str]) -> bool:
    """Whether the locale is plain C: Python says UTF-8 there, the terminal may not."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := env.get(name):
            return value in ("C", "POSIX")
    return False


def actor_name(environ: Mapping[str, str], user: str | None = None) -> str:
    """Who acts, for the record: ``user@ssh-client``, or ``user@local``."""
    if user is None:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # no passwd entry for this uid
            user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    origin = environ.get("SSH_CLIENT") or environ.get("SSH_CONNECTION") or ""
    client = origin.split()[0] if origin.split() else "local"
    return f"{user}@{client}"


def clipboard_sequence(text: str, *, tmux: bool) -> str | None:
    """The OSC 52 sequence that hands text to the terminal's clipboard, or None if too long.

    Inside tmux it is wrapped for passthrough as well as sent bare: tmux takes the bare one with
    ``set-clipboard on`` and passes the wrapped one with ``allow-passthrough on``.
    """
    payload = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(payload) > OSC52_LIMIT:
        return None
    bare = f"\x1b]52;c;{payload}\x07"
    if not tmux:
        return bare
    doubled = bare.replace("\x1b", "\x1b\x1b")
    return f"{bare}\x1bPtmux;{doubled}\x1b\\"


def write_copy(text: str, home: Path) -> str:
    """Write a copy to a file, which serves where no terminal takes one; returns what became of it,
    in words."""
    path = home / "clipboard.txt"
    try:
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        return f"not written to {path}: {error.strerror}"
    return f"written to {path}"


def leave_by_force(hard_exit: Callable[[int], object], begun: float) -> None:
    """End the process soon, whatever still runs in it: its terminal may be gone for ever.

    Args:
        hard_exit: Ends it with a status.
        begun: When the hang-up came, on the monotonic clock.
    """
    left = HANG_UP_S - (time.monotonic() - begun)
    timer = threading.Timer(max(left, HANG_UP_GRACE_S), hard_exit, (129,))
    timer.daemon = True
    timer.start()


def on_end_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[signal.Signals], None]
) -> Callable[[], None]:
    """Call ``stop`` when the terminal hangs up (SIGHUP) or someone asks us to end (SIGTERM).

    Textual handles neither: a hang-up would kill the process mid-write, or spin for ever where
    SIGHUP is ignored.

    Returns:
        A function that takes the handlers away again.
    """
    installed: list[signal.Signals] = []
    for number in (signal.SIGHUP, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except (NotImplementedError, RuntimeError, ValueError):
            continue  # not the main thread (a test), or a platform without it
        installed.append(number)

    def remove() -> None:
        for number in installed:
            loop.remove_signal_handler(number)

    return remove
