"""What a cluster tells of a host that has joined, and what it wants told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.fleet.quarters import Quarters
from engine.machine import Place
from engine.memory import Memory
from engine.workers.placement import Placement


class ClusterTrouble(Exception):
    """The cluster cannot be joined; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Member:
    """A host that can be used."""

    place: Place
    address: str
    devices: tuple[str, ...]
    quarters: Quarters
    placement: Placement
    budget: int
    """Bytes the engine may use there."""
    memory: Callable[[], Memory]
    """The host's memory as it was last heard."""


class Audience(Protocol):
    """Whoever uses the hosts of a cluster."""

    async def joined(self, member: Member) -> None:
        """A host is there, for the first time or again."""
        ...

    def stale(self, name: str, heard_at: float) -> None:
        """Nothing was heard of a host for a while; ``heard_at`` is Unix seconds."""
        ...

    def heard(self, name: str) -> None:
        """A stale host is heard again."""
        ...

    def lost(self, name: str, why: str) -> None:
        """A host is given up. Called before its connections end."""
        ...

    def useless(self, name: str, why: str) -> None:
        """A host of the cluster cannot be used."""
        ...


class Alone:
    """No cluster: the engine's own host is the only one."""

    async def open(self) -> None:
        """Nothing to join."""

    async def watch(self, audience: Audience) -> None:
        """Nobody comes or goes."""

    async def close(self) -> None:
        """Nothing to leave."""


class Cluster(Protocol):
    """Other hosts than the engine's own."""

    async def open(self) -> None:
        """Join it. Raises ClusterTrouble."""
        ...

    async def watch(self, audience: Audience) -> None:
        """Tell of hosts as they come and go, until cancelled."""
        ...

    async def close(self) -> None:
        """End what runs on the other hosts and leave; safe to call twice."""
        ...
