"""Ports of this machine that the ranks of a gang meet at, kept free for them."""

import socket
from typing import Protocol

LOOPBACK = "127.0.0.1"


class Held(Protocol):
    """Ports that are kept for ranks, on this machine or another."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """``HOST:PORT``, one for each rank."""
        ...

    def close(self) -> None:
        """Let go of them."""
        ...


class Ports:
    """So many free ports of this machine.

    They stay bound, so that no other program is given one before a rank listens there: MLX sets
    SO_REUSEPORT on its listeners, and of several sockets with it on one port only those that
    listen get connections.

    Args:
        address: Of which interface: its ranks and whoever else is on that network reach them.

    Raises:
        OSError: there are none, or this machine has no such address.
    """

    def __init__(self, count: int, address: str = LOOPBACK) -> None:
        self._held: list[socket.socket] = []
        try:
            for _ in range(count):
                held = socket.socket()
                self._held.append(held)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held.bind((address, 0))
        except OSError:
            self.close()
            raise
        self.addresses = tuple(f"{address}:{held.getsockname()[1]}" for held in self._held)
        """``HOST:PORT``, one for each rank."""

    def close(self) -> None:
        """Let go of them; ranks that have met need them no more."""
        for held in self._held:
            held.close()
