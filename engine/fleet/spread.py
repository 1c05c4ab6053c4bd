"""The ranks of one model on several hosts: each started by its own host's placement, all of them
one worker to everybody else."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine.errors import EngineError
from engine.fleet.host import Host
from engine.types import Backend
from engine.workers.gang import muster
from engine.workers.placement import Connection, Placement, Post, Seat, Spawn, SpawnError
from engine.workers.ports import Held


class Together:
    """Ports of several hosts, kept as long as one worker needs them."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def keep(self, held: Held) -> Iterator[str]:
        """Keep a host's ports too; returns its addresses, one after another."""
        self._held.append(held)
        return iter(held.addresses)

    def close(self) -> None:
        """Let go of all."""
        for held in self._held:
            held.close()


class Spread:
    """A host's placement which also starts workers whose ranks are on several hosts.

    Args:
        below: That host's own.
        named: The host of a name, or None.
    """

    def __init__(self, below: Placement, named: Callable[[str], Host | None]) -> None:
        self._below = below
        self._named = named

    async def start(self, spawn: Spawn) -> Connection:
        """Start a worker; one of several hosts where ``spawn.posts`` says so.

        Raises:
            SpawnError: one of its processes could not be started; none is left then.
        """
        if not spawn.posts:
            return await self._below.start(spawn)
        ports = Together()
        try:
            hosts = {post.host: self._there(post.host) for post in spawn.posts}
            ring: Sequence[str] = ()
            if spawn.backend is not Backend.SIMULATED:  # simulated ranks do not talk to each other
                ring = await self._ring(spawn.posts, hosts, ports)
        except BaseException:
            ports.close()
            raise
        one = replace(spawn, ranks=1, posts=())
        orders = []
        for rank, post in enumerate(spawn.posts):
            seat = Seat(rank, spawn.ranks, tuple(ring))
            orders.append((hosts[post.host].placement, replace(one, python=post.python, seat=seat)))
        return await muster(orders, ports)

    def _there(self, name: str) -> Host:
        if (host := self._named(name)) is None:
            raise SpawnError(f"there is no host {name} any more")
        return host

    async def _ring(
        self, posts: Sequence[Post], hosts: dict[str, Host], ports: Together
    ) -> list[str]:
        """Where each rank is to listen: on its own host, at the address named for it."""
        addresses: dict[str, Iterator[str]] = {}
        for name, count in Counter(post.host for post in posts).items():
            try:
                held = await hosts[name].quarters.ports(count, hosts[name].ring)
            except EngineError as error:
                raise SpawnError(error.decision.message) from error
            addresses[name] = ports.keep(held)
        return [next(addresses[post.host]) for post in posts]
