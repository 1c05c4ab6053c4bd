"""The event log as far as an attached console holds it, without holes."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress

from pydantic import ValidationError

from engine.delta import adapter_of
from engine.errors import EngineError
from engine.face import OutOfReach
from engine.remote.link import Link
from engine.remote.sse import events_of
from engine.types import Event

KEPT = 1000
"""Events held here; as many older ones are fetched at first. The engine's files hold the rest."""
_SILENT_S = 5.0


class Chronicle:
    """Events by sequence: those of each snapshot, and what happened while nobody listened."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._events: list[Event] = []
        self._missing: asyncio.Task[None] | None = None

    def after(self, seq: int) -> tuple[Event, ...]:
        """Events with a sequence above ``seq``, oldest first."""
        if not self._events or self._events[-1].seq <= seq:
            return ()
        return tuple(event for event in self._events if event.seq > seq)

    def hear(self, newest: Sequence[Event]) -> None:
        """Take the newest events of a snapshot; what lies between is fetched behind it."""
        if not newest:
            return
        held = self._events[-1].seq if self._events else 0
        if newest[-1].seq < held:
            self._events, held = [], 0  # another log
        if newest[-1].seq == held:
            return
        first = newest[0].seq
        if first > held + 1 and self._missing is None:
            after = max(held, first - 1 - KEPT)
            if after < first - 1:
                self._missing = asyncio.create_task(self._fetch(after, first))
        self._keep([event for event in newest if event.seq > held])

    def _keep(self, more: Sequence[Event]) -> None:
        known = {event.seq: event for event in (*self._events, *more)}
        self._events = [known[seq] for seq in sorted(known)][-2 * KEPT :]

    async def _fetch(self, after: int, before: int) -> None:
        """Events between two sequences, replayed from the engine's files."""
        found: list[Event] = []
        headers = {"Last-Event-ID": str(after)}
        try:
            with suppress(OutOfReach, EngineError, ValidationError):
                async with (
                    self._link.open(
                        "GET", "/admin/events", headers=headers, silent_s=_SILENT_S
                    ) as answer,
                    aclosing(events_of(answer.lines())) as events,
                ):
                    async for told in events:
                        event: Event = adapter_of(Event).validate_python(told.data)
                        if event.seq >= before:
                            break
                        found.append(event)
            self._keep(found)
        finally:
            self._missing = None

    async def close(self) -> None:
        """Stop fetching."""
        if self._missing is not None:
            self._missing.cancel()
            with suppress(asyncio.CancelledError):
                await self._missing
