"""What leaves the screen as text: for the terminal's clipboard and, where none takes it, a file."""

import base64
from collections.abc import Callable
from pathlib import Path

OSC52_LIMIT = 74_994
"""Most terminals and tmux take no longer sequence; xterm's own limit, in base64 bytes."""


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


def copy_out(
    text: str, write: Callable[[str], object] | None, home: Path | None, *, tmux: bool
) -> str:
    """Send text to the terminal's clipboard and to a file; nobody can tell whether the terminal
    took it, so only what is known is said.

    Args:
        write: Takes bytes to the terminal; None while there is none.
        home: The folder the file lies in, or None.

    Returns:
        What became of it, in words.
    """
    said = []
    sequence = clipboard_sequence(text, tmux=tmux)
    if sequence is not None and write is not None:
        write(sequence)
        said.append("sent to the terminal")
    if home is not None:
        said.append(write_copy(text, home))
    return " and ".join(said) or "nothing took the copy"
