"""Workers on another host, as their supervisors see them."""

import asyncio
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.workers.placement import Connection, Ending, Spawn

if TYPE_CHECKING:
    from engine.cluster.link import Link


class DistantWorker:
    """A worker on another host, as its supervisor sees it."""

    def __init__(self, link: "Link", number: int) -> None:
        self.pid = 0
        self.host = link.name
        self._link = link
        self._number = number
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._tail = b""

    # -- what the link tells it -----------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """It said this; empty when it has closed its socket."""
        self._inbox.put_nowait(data)

    def part(self, ending: Ending, stderr_tail: bytes) -> None:
        """Its process has ended."""
        if not self._ending.done():
            self._tail = stderr_tail
            self._ending.set_result(ending)

    def bereave(self, why: str) -> None:
        """Its host is gone."""
        self.part(Ending(0, host_lost=why), b"")
        self.hear(b"")

    # -- engine.workers.placement.Connection -----------------------------------------------------

    @property
    def cut(self) -> bool:
        """Whether its host is not heard any more."""
        return self._link.stale

    async def receive(self) -> bytes:
        """The next bytes from the worker; empty at its end."""
        return await self._inbox.get()

    def send(self, data: bytes) -> None:
        """Queue bytes for the worker."""
        self._link.order("send", self._number, data)

    def kill(self, signal_number: int) -> None:
        """Have the agent send a signal."""
        self._link.order("kill", self._number, signal_number)

    async def wait(self) -> Ending:
        """Wait for the end of the process, or of its host."""
        return await asyncio.shield(self._ending)

    async def stderr_tail(self) -> bytes:
        """The last of standard error; of a worker that lives, what it has written so far."""
        if not self._ending.done():
            try:
                self._tail = await self._link.ask("stderr_tail", self._number)
            except EngineError:
                return self._tail
        return self._tail

    def hang_up(self) -> None:
        """Read no further than what has arrived; the agent has done the same."""
        self.hear(b"")

    def close(self) -> None:
        """Let the agent close its socket; nobody listens any more."""
        self._link.order("close", self._number)
        self._link.forget(self._number)


class DistantPorts:
    """Ports of another host, kept there for ranks."""

    def __init__(self, link: "Link", number: int, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self._link = link
        self._number = number

    def close(self) -> None:
        """Have the agent let go of them."""
        self._link.order("free", self._number)


class DistantPlacement:
    """Starts workers on another host."""

    def __init__(self, link: "Link") -> None:
        self._link = link

    async def start(self, spawn: Spawn) -> Connection:
        """Start a worker there. Raises SpawnError."""
        return await self._link.start(spawn)
