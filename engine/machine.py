"""What the engine shows of the machine its models run on: memory and runtimes."""

from dataclasses import dataclass

from engine.words import Backend


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a load is expected to take, in bytes."""

    weights: int
    cache: int
    overhead: int
    context: int
    stated: int | None = None
    """An operator's own figure (``reserve_gb``), which replaces the sum."""

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
