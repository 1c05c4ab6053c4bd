"""``/admin/events``: the event log as a stream, from any point of it.

Each reader draws from the log at its own pace: in memory while it keeps up, from the files where
it is behind. So a slow one costs nothing and loses nothing.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from engine.errors import Code, EngineError, refuse
from engine.http.house import House
from engine.text import clean_line
from engine.types import Event

LOOK_S = 0.2
"""How often the log is looked at for more."""
_BATCH = 500
_RETRY_MS = 2000
_LARGEST = 2**63 - 1


def router(house: House) -> APIRouter:
    """The stream."""
    rooms = APIRouter(prefix="/admin", tags=["admin: engine"])

    @rooms.get("/events", response_class=StreamingResponse)
    async def events(
        after: Annotated[int | None, Query(ge=0, le=_LARGEST)] = None,
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    ) -> StreamingResponse:
        """Everything that happens, as server-sent events: `id` is the sequence, `event` the kind.

        Starts with what happens now, or behind `Last-Event-ID` (or `after`), however long ago.
        """
        start = _sequence(last_event_id) if last_event_id is not None else after
        return StreamingResponse(
            follow(house, start),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return rooms


def _sequence(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= _LARGEST:
        return int(text)
    raise EngineError(
        refuse(
            Code.INVALID_HEADER,
            "Last-Event-ID is no sequence of this log",
            expected="a whole number",
            found=clean_line(text, limit=80),
            remedy="send the id of the last event received, or leave it out",
            param="Last-Event-ID",
        )
    )


async def follow(house: House, start: int | None) -> AsyncIterator[bytes]:
    """Events in the wire's form until the server ends.

    Args:
        start: Only what comes after this sequence; None means only what comes from now on.
    """
    engine = house.engine
    newest = max((event.seq for event in engine.snapshot().events), default=0)
    # A sequence that was never given out belongs to another log.
    at = newest if start is None else min(start, newest)
    yield f"retry: {_RETRY_MS}\n\n".encode()
    spoke = time.monotonic()
    while not house.ending.is_set():
        found = engine.events(at)
        if found and found[0].seq > at + 1:
            async for batch in _older(house, at, found[0].seq):
                yield _wire(batch)
        if found:
            at = found[-1].seq
            yield _wire(found)
            spoke = time.monotonic()
            continue
        if time.monotonic() - spoke >= house.settings.http.heartbeat_s:
            yield b": still here\n\n"
            spoke = time.monotonic()
        try:
            await asyncio.wait_for(house.ending.wait(), LOOK_S)
        except TimeoutError:
            continue


async def _older(house: House, after: int, before: int) -> AsyncIterator[list[Event]]:
    """Events between two sequences, from the log's files."""
    history: Iterator[Event] = house.engine.desk.history(after)
    while batch := await asyncio.to_thread(list, islice(history, _BATCH)):
        wanted = [event for event in batch if event.seq < before]
        if wanted:
            yield wanted
        if len(wanted) < len(batch):
            return


def _wire(events: Iterable[Event]) -> bytes:
    lines = []
    for event in events:
        data = json.dumps(asdict(event), default=str, ensure_ascii=False)
        kind = clean_line(event.kind, limit=80)
        lines.append(f"id: {event.seq}\nevent: {kind}\ndata: {data}\n\n")
    return "".join(lines).encode("utf-8", "replace")
