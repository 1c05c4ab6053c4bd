"""Facts of the terminal the console runs in."""

import codecs
import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass


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
