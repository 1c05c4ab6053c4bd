"""How a worker is started and reached, as a protocol.

A local process now, a process on another host of a cluster later: nothing above the supervisor
knows where a model runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.types import Backend


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of one process among those that hold a model together."""

    rank: int
    ranks: int
    ring: tuple[str, ...] = ()
    """Where each rank listens for its neighbour, ``HOST:PORT`` in order; empty where they do not
    talk to each other."""

    @property
    def name(self) -> str:
        """For people: ``rank 1 of 3``; the first is rank 0."""
        return f"rank {self.rank} of {self.ranks}"


@dataclass(frozen=True, slots=True)
class Post:
    """Where one rank runs, of a model whose ranks are on several hosts."""

    host: str
    python: Path
    path: str
    """The model's files there."""
    state_dir: str


@dataclass(frozen=True, slots=True)
class Spawn:
    """What kind of worker is wanted: one backend in one interpreter."""

    backend: Backend
    python: Path
    runtime: str
    ranks: int = 1
    """Processes that hold the model together, each a part of every layer."""
    seat: Seat | None = None
    """Set for one process of several."""
    posts: tuple[Post, ...] = ()
    """One for each rank, in order, where they are on several hosts."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker's process ended, as the machine saw it that it ran on."""

    status: int
    """Exit status, or minus the signal's number."""
    memory_killer: bool = False
    """Whether that machine's memory killer struck meanwhile, or does not tell."""
    part: str = ""
    """Which process ended first, where the worker is several: ``rank 1 of 3``."""
    reason: str = ""
    """Why the connection itself had to end it, else empty: the status says it then."""
    host_lost: str = ""
    """Why nobody can tell: the machine itself is gone. Empty while it is there."""


class SpawnError(Exception):
    """No worker could be started; the text says why."""


class Connection(Protocol):
    """A started worker: bytes to and from it, and its end."""

    pid: int
    host: str
    """The machine it runs on; empty for this one."""

    @property
    def cut(self) -> bool:
        """Whether the way to it is cut: its silence then says nothing of the worker."""
        ...

    async def receive(self) -> bytes:
        """The next bytes from the worker; empty once it has closed its side."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes for the worker. Bytes for a dead worker vanish: its end says why."""
        ...

    def kill(self, signal_number: int) -> None:
        """Send a signal; a worker already gone is no error."""
        ...

    async def wait(self) -> Ending:
        """Wait for the end."""
        ...

    async def stderr_tail(self) -> bytes:
        """The last 64 KiB the worker wrote on its standard error, complete once it has ended."""
        ...

    def hang_up(self) -> None:
        """Make ``receive`` return what has arrived and then the end; safe at any time."""
        ...

    def close(self) -> None:
        """Let go of the socket; the worker takes it as its order to end."""
        ...


class Placement(Protocol):
    """Where workers come from."""

    async def start(self, spawn: Spawn) -> Connection:
        """Start a worker.

        Raises:
            SpawnError: the interpreter is missing or the machine has no room for a process.
        """
        ...
