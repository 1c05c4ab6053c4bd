"""What the engine shows of the machines its models run on: hosts, memory and runtimes."""

import platform
from dataclasses import dataclass
from typing import NamedTuple

from engine.words import Backend, HostState


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a load is expected to take, in bytes."""

    weights: int
    cache: int
    overhead: int
    context: int
    stated: int | None = None
    """An operator's own figure (``reserve_gb``), which replaces the sum."""
    ranks: int = 1
    """Processes it is split among; the other figures are of all of them together."""

    @property
    def per_rank(self) -> int:
        """What each process takes."""
        return -(-self.total // self.ranks)

    @property
    def total(self) -> int:
        return self.stated if self.stated is not None else self.weights + self.cache + self.overhead


@dataclass(frozen=True, slots=True)
class MemoryView:
    """The memory budget: what the engine may use, has promised and has measured in its workers."""

    budget: int
    reserved: int
    measured: int
    available: int
    """Free memory of the machine, file cache counted as free."""


NO_MEMORY = MemoryView(0, 0, 0, 0)
"""Nothing is known yet."""


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """One interpreter a backend can run in. ``error`` is set when it cannot."""

    name: str
    backend: Backend
    version: str
    error: str = ""


def processor() -> str:
    """What computes on this machine besides GPUs."""
    return f"{platform.system()} {platform.machine()}"


class Place(NamedTuple):
    """Where a model is."""

    host: str = ""
    """The host's name."""
    kind: str = ""
    """The class of host its verdicts are about; empty for that of the engine's own host."""
    away: bool = False
    """Whether it is another host than the engine's own."""


@dataclass(frozen=True, slots=True)
class HostView:
    """One host. ``memory`` is that host's budget and what is promised, measured and free there."""

    name: str
    state: HostState = HostState.OK
    own: bool = True
    """Whether the engine itself runs there."""
    address: str = ""
    devices: tuple[str, ...] = ()
    memory: MemoryView = NO_MEMORY
    runtimes: tuple[RuntimeView, ...] = ()
    heard_at: float | None = None
    """When it was last heard, in Unix seconds, once that is a while ago; None while it is well."""
    why: str = ""
    """What is wrong with it."""
    models: int = 0
    """How many workers it runs."""
