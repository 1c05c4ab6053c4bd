"""Tells the service manager that started us how far we are, as sd_notify(3) does."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress


class Herald:
    """Speaks to ``NOTIFY_SOCKET``; silent where nobody listens.

    Args:
        environ: The variable is taken out of it, so that no child speaks in our name.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        self._where = (os.environ if environ is None else environ).pop("NOTIFY_SOCKET", "")

    def ready(self, words: str) -> None:
        """Serving from now on."""
        self._tell(f"READY=1\nSTATUS={words}")

    def stopping(self, words: str) -> None:
        """On the way to the end."""
        self._tell(f"STOPPING=1\nSTATUS={words}")

    def _tell(self, message: str) -> None:
        if self._where[:1] not in ("/", "@"):
            return
        # An abstract socket's name begins with a zero byte, which no variable can hold.
        where = "\0" + self._where[1:] if self._where.startswith("@") else self._where
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.sendto(message.encode(), where)
