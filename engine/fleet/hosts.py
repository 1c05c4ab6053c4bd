"""The hosts an engine knows, by name. The first is its own."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.fleet.host import Host
from engine.lives.model import Model
from engine.machine import HostView, MemoryView
from engine.types import HostState, ModelView


@dataclass(slots=True)
class Hosts:
    """Never empty: the engine's own host is always there."""

    own: Host
    others: dict[str, Host] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Host]:
        yield self.own
        yield from self.others.values()

    def of(self, model: Model) -> Host:
        """The host of a model."""
        return self.named(model.place.host) or self.own

    def named(self, name: str) -> Host | None:
        """The host of this name, or None."""
        return self.own if name == self.own.name else self.others.get(name)

    def release(self, model_id: str) -> None:
        """Take back what a model was promised, wherever it was."""
        for host in self:
            host.budget.release(model_id)

    def forget_losses(self) -> None:
        """The engine ends: nobody will load into memory that did not come back."""
        for host in self:
            host.reclaim.close()

    async def close(self) -> None:
        """End every spare worker."""
        await asyncio.gather(*(host.spares.close() for host in self))

    def state(self, name: str) -> HostState:
        """How the host of this name is."""
        host = self.named(name)
        return host.state if host is not None else HostState.LOST

    def lost(self, model: Model) -> bool:
        """Whether the host of a model is given up."""
        return self.of(model).state is HostState.LOST

    def views(self, models: tuple[ModelView, ...]) -> tuple[HostView, ...]:
        """Every host as a screen shows it.

        Args:
            models: The models of the snapshot.
        """
        measured: dict[str, int] = {}
        live: dict[str, int] = {}
        for model in models:
            if model.pid is None and not model.measured_bytes:
                continue  # of a thousand on disk a few are live
            measured[model.host] = measured.get(model.host, 0) + (model.measured_bytes or 0)
            live[model.host] = live.get(model.host, 0) + (model.pid is not None)
        return tuple(h.view(measured.get(h.name, 0), live.get(h.name, 0)) for h in self)


def together(hosts: tuple[HostView, ...]) -> MemoryView:
    """The memory of all hosts that are there."""
    there = [host.memory for host in hosts if host.state is not HostState.LOST]
    return MemoryView(
        budget=sum(memory.budget for memory in there),
        reserved=sum(memory.reserved for memory in there),
        measured=sum(memory.measured for memory in there),
        available=sum(memory.available for memory in there),
    )
