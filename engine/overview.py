"""What an open engine's rooms add to a snapshot of its models."""

from dataclasses import replace

from engine.assembly import Rooms
from engine.fleet.hosts import together
from engine.types import EngineSnapshot

EVENTS_SHOWN = 200


def filled(bare: EngineSnapshot, rooms: Rooms) -> EngineSnapshot:
    """The snapshot with quarantine, registry, events, memory and what else there is to show."""
    services = rooms.services
    hosts = services.hosts.views(bare.models)
    return replace(
        bare,
        quarantine=services.quarantine.views(
            {model.id: model.key for model in services.board.models.values() if model.fingerprint}
        ),
        registry=services.registry.rows(limit=services.settings.registry_rows_shown),
        registry_total=services.registry.total,
        events=services.events.latest(EVENTS_SHOWN),
        clients=services.clients.views(),
        memory=together(hosts),
        runtimes=hosts[0].runtimes,
        hosts=hosts,
        outdated=rooms.upkeep.upgrade.models,
    )
