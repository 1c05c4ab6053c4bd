"""One host: its files and runtimes, its memory, and the workers on it."""

from dataclasses import replace

from engine.fleet.quarters import Quarters
from engine.lives.reclaim import Reclaim
from engine.machine import HostView, Place
from engine.memory import Budget
from engine.types import HostState, RuntimeView
from engine.workers.placement import Placement
from engine.workers.spares import Spares

_NOTICEABLE = 100
"""Free memory is shown anew when it moved by this part of the budget: it never stands still, and
each figure costs every line to every console."""


class Host:
    """A host as the engine deals with it. Its own is one like any other.

    Args:
        place: Its name, and what tells its verdicts from another host's.
        placement: Starts processes there, each for itself.
        ring: The address at which its ranks meet those of other hosts; empty: they do not.
        address: Where the cluster reaches it; empty for the engine's own.
        devices: What computes there, for people.
    """

    def __init__(
        self,
        place: Place,
        quarters: Quarters,
        budget: Budget,
        reclaim: Reclaim,
        spares: Spares,
        placement: Placement,
        *,
        ring: str = "",
        address: str = "",
        devices: tuple[str, ...] = (),
    ) -> None:
        self.place = place
        self.quarters = quarters
        self.budget = budget
        self.reclaim = reclaim
        self.spares = spares
        self.placement = placement
        self.ring = ring
        self.address = address
        self.devices = devices
        self.state = HostState.OK
        self.heard_at: float | None = None
        """When it was last heard, Unix seconds, while it is not ``ok``."""
        self.why = ""
        """What is wrong with it."""
        self._free_shown: int | None = None

    @property
    def name(self) -> str:
        """Its name, unique in the cluster."""
        return self.place.host

    @property
    def own(self) -> bool:
        """Whether it is the engine's own."""
        return not self.place.away

    @property
    def room(self) -> int:
        """Bytes that may still be promised there."""
        return self.budget.total - sum(self.budget.reserved.values()) - self.budget.lost

    @property
    def moved(self) -> bool:
        """Whether its free memory is no longer what is shown."""
        return self._differs(self.budget.view().available)

    def _differs(self, free: int) -> bool:
        shown = self._free_shown
        return shown is None or abs(free - shown) > self.budget.total // _NOTICEABLE

    def view(self, measured: int, models: int) -> HostView:
        """The host as a screen shows it.

        Args:
            measured: Bytes its workers hold.
            models: How many of its models are live.
        """
        memory = self.budget.view(measured)
        if self._free_shown is None or self._differs(memory.available):
            self._free_shown = memory.available
        return HostView(
            name=self.name,
            state=self.state,
            own=self.own,
            address=self.address,
            devices=self.devices,
            memory=replace(memory, available=self._free_shown),
            runtimes=tuple(
                RuntimeView(runtime.name, runtime.backend, runtime.version, runtime.error)
                for runtime in self.quarters.runtimes.all
            ),
            heard_at=self.heard_at,
            why=self.why,
            models=models,
        )
