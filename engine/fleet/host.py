"""One host: its files and runtimes, its memory, and the workers on it."""

from engine.fleet.quarters import Quarters
from engine.lives.reclaim import Reclaim
from engine.machine import HostView, Place
from engine.memory import Budget
from engine.types import HostState, RuntimeView
from engine.workers.spares import Spares


class Host:
    """A host as the engine deals with it. Its own is one like any other.

    Args:
        place: Its name, and what tells its verdicts from another host's.
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
        *,
        address: str = "",
        devices: tuple[str, ...] = (),
    ) -> None:
        self.place = place
        self.quarters = quarters
        self.budget = budget
        self.reclaim = reclaim
        self.spares = spares
        self.address = address
        self.devices = devices
        self.state = HostState.OK
        self.heard_at: float | None = None
        """When it was last heard, Unix seconds, while it is not ``ok``."""
        self.why = ""
        """What is wrong with it."""

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

    def view(self, measured: int, models: int) -> HostView:
        """The host as a screen shows it.

        Args:
            measured: Bytes its workers hold.
            models: How many of its models are live.
        """
        return HostView(
            name=self.name,
            state=self.state,
            own=self.own,
            address=self.address,
            devices=self.devices,
            memory=self.budget.view(measured),
            runtimes=tuple(
                RuntimeView(runtime.name, runtime.backend, runtime.version, runtime.error)
                for runtime in self.quarters.runtimes.all
            ),
            heard_at=self.heard_at,
            why=self.why,
            models=models,
        )
