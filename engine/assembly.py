"""How the engine's rooms are wired together, in one place."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from engine.admission.signatures import load_signatures
from engine.announcer import Announcer
from engine.events import EventLog
from engine.examiner import Examiner
from engine.fleet.copies import Copies
from engine.fleet.dispatch import Dispatch
from engine.fleet.host import Host
from engine.fleet.hosts import Hosts
from engine.fleet.quarters import OwnQuarters
from engine.fleet.spread import Spread
from engine.home.home import Home
from engine.home.intents import Intents, boot_id
from engine.home.statefile import StateFile
from engine.ledger.archive import host_name
from engine.lives.board import Board
from engine.lives.gatehouse import Gatehouse
from engine.lives.intake import Intake
from engine.lives.inventory import Inventory
from engine.lives.lifecycle import Lifecycle
from engine.lives.model import Model
from engine.lives.performance import Performance
from engine.lives.preload import Preload
from engine.lives.reclaim import Reclaim
from engine.lives.upkeep import Upkeep
from engine.machine import Place, processor
from engine.memory import Budget, Memory, default_budget
from engine.quarantine import Quarantine
from engine.readiness import Cause
from engine.registry import Registry, RegistryTrouble
from engine.requests.clients import Clients
from engine.requests.suspects import Suspects
from engine.services import Services
from engine.settings import Settings
from engine.text import clean_line
from engine.types import Notice
from engine.workers.capability import Capabilities
from engine.workers.placement import Placement
from engine.workers.spares import Spares


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an open engine consists of."""

    state: StateFile
    services: Services
    gatehouse: Gatehouse
    dispatch: Dispatch
    inventory: Inventory
    intake: Intake
    upkeep: Upkeep
    preload: Preload

    def close(self) -> None:
        """Write what is left to write and let go of the files."""
        services = self.services
        with suppress(RegistryTrouble):  # its banner has said so as long as there was a screen
            services.registry.flush_pending()
        self.state.flush()
        services.registry.close()
        services.events.flush()
        services.events.close()
        self.upkeep.announcer.close()


def assemble(
    settings: Settings,
    home: Home,
    board: Board,
    *,
    clock: Callable[[], float],
    new_id: Callable[[], str],
    placement: Placement,
    machine: Callable[[], Memory],
    lives: Mapping[str, Lifecycle],
    retire: Callable[[str], object],
    release: Callable[[str], object],
    preload: Callable[[str], Awaitable[object]],
) -> Rooms:
    """Open the home's files and wire everything. Blocks on the disk; run it off the loop.

    Args:
        machine: The machine's memory now.
        lives: The live models, as the engine keeps them.
        retire: Unloads a model that has been idle for its keep-alive.
        release: Releases a quarantined model whose cool-down is over.
        preload: Loads a model and returns once it is routable.
    """
    state = StateFile(home.state, clock)
    registry = Registry(home.registry, clock)
    announcer = Announcer(settings, host_name())
    events = EventLog(home.events, clock, settings.events_kept, on_add=announcer.offer)
    signatures, complaint = load_signatures(settings.signatures)
    examiner = Examiner(settings, Capabilities(home.path, clock), signatures)
    examiner.find_runtimes()
    budget = Budget(default_budget(settings.memory_gb), lambda: machine().available)

    def named(name: str) -> Host | None:
        return hosts.named(name)

    own = Host(
        Place(host_name()),
        OwnQuarters(settings, examiner, home.sim_state),
        budget,
        Reclaim(budget, board, events, machine),
        Spares(
            Spread(placement, named),
            settings.deadlines,
            keep=settings.spare,
        ),
        placement,
        ring=settings.ring_of(host_name()),
        devices=(processor(),),
    )
    hosts = Hosts(own)
    services = Services(
        settings=settings,
        clock=clock,
        new_id=new_id,
        board=board,
        events=events,
        registry=registry,
        quarantine=Quarantine(state, settings.quarantining, clock),
        intents=Intents(state, clock, boot_id()),
        hosts=hosts,
        copies=Copies(board, hosts.state),
        performance=Performance(clock),
        suspects=Suspects(state, clock),
        clients=Clients(clock),
    )

    def moved(model: Model) -> None:
        services.quarantine.watch(model.key, model.id, model.readiness)
        if model.view.transitions[-1].cause == Cause.DIED:
            services.performance.restarted(model.id)

    gatehouse = Gatehouse(services)
    rooms = Rooms(
        state=state,
        services=services,
        gatehouse=gatehouse,
        dispatch=Dispatch(services, gatehouse),
        inventory=Inventory(services, moved),
        intake=Intake(services, gatehouse),
        upkeep=Upkeep(services, state, home, lives, retire, release, announcer),
        preload=Preload(services, preload),
    )
    for part, problems in (
        ("registry", registry.warnings),
        ("state", tuple(state.warnings)),
        ("signatures", (complaint,) if complaint else ()),
    ):
        if problems:
            message = clean_line("; ".join(problems), limit=600)
            board.notice(Notice(part, message))
            events.add("file_salvaged", message, level="warn")
    if state.lost:
        services.quarantine.rebuild(registry)
    return rooms
