"""The parts one engine owns and its lifecycles share, wired once in engine.py."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.events import EventLog
from engine.fleet.copies import Copies
from engine.fleet.hosts import Hosts
from engine.home.intents import Intents
from engine.lives.board import Board
from engine.lives.performance import Performance
from engine.quarantine import Quarantine, Relief
from engine.registry import Registry, RegistryTrouble
from engine.requests.clients import Clients
from engine.requests.suspects import Suspects
from engine.settings import Settings
from engine.text import clean_line
from engine.types import Key, Notice, RegistryRow


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a lifecycle needs besides its model."""

    settings: Settings
    clock: Callable[[], float]
    new_id: Callable[[], str]
    board: Board
    events: EventLog
    registry: Registry
    quarantine: Quarantine
    intents: Intents
    hosts: Hosts
    copies: Copies
    performance: Performance
    suspects: Suspects
    clients: Clients

    def say(
        self,
        kind: str,
        message: str,
        *,
        model_id: str = "",
        actor: str = "engine",
        level: str = "info",
        data: dict[str, Any] | None = None,
    ) -> None:
        """Put an event on record and tell the board."""
        self.events.add(
            kind,
            clean_line(message),
            model_id=model_id,
            actor=actor,
            level=level,
            data=data or {},
        )
        self.board.changed()

    def tell(self, relief: Relief | None) -> None:
        """Say what time or traffic did for a model, if anything."""
        if relief is not None:
            words = {
                "strikes_cleared": "clean for long enough: its strikes are forgotten",
                "probation_passed": "off probation",
            }
            self.say(relief.what, words[relief.what], model_id=relief.model_id)

    async def write_down(
        self,
        key: Key,
        model_id: str,
        outcome: str,
        reason: str,
        event: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Append a registry row off the event loop. Trouble becomes a banner, never a stop.

        Args:
            event: ``canary``, ``quarantine``, ``strike``, ``refusal`` or ``environment``.
        """
        row = RegistryRow(
            ts=self.clock(),
            model_id=model_id,
            backend=key.backend.value,
            backend_version=key.backend_version,
            outcome=outcome,
            reason=clean_line(reason, limit=300),
            metadata={"event": event, "fingerprint": key.fingerprint}
            | ({"host": key.host, "host_class": key.host_class} if key.host else {})
            | (metadata or {}),
        )
        try:
            await asyncio.to_thread(self.registry.append, row)
        except RegistryTrouble as trouble:
            self.board.notice(Notice("registry-trouble", clean_line(str(trouble)), "error"))
        self.board.changed()
