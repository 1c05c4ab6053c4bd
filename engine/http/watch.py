"""``/admin/watch``: the engine's whole state as a stream, for a console in another process.

Each watcher is told at its own pace: the whole once, then what changed since it was last told,
at most a few times a second, however much happens and however slowly it reads.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from engine.delta import PROTOCOL, change, whole
from engine.http.house import House
from engine.types import EngineSnapshot

LOOK_S = 0.2
"""How often the state is looked at: as often as a console beside the engine looks."""
BEAT_S = 1.0
"""A sign of life after so long without a change; a console says STALE after three seconds."""


def router(house: House) -> APIRouter:
    """The stream."""
    rooms = APIRouter(prefix="/admin", tags=["admin: engine"])

    @rooms.get("/watch", response_class=StreamingResponse)
    async def watch() -> StreamingResponse:
        """The state as server-sent events: `hello`, the `whole`, then each `change` with the
        version it starts `from` and the one it leads to, and a `beat` while nothing changes."""
        return StreamingResponse(
            follow(house),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return rooms


async def follow(house: House) -> AsyncIterator[bytes]:
    """The state in the wire's form until the server ends."""
    about = {"face": PROTOCOL, "version": house.version, "boot": house.boot}
    yield _wire("hello", about | {"readonly": house.readonly, "now": time.time()})
    told: EngineSnapshot | None = None
    spoke = time.monotonic()
    while not house.ending.is_set():
        snapshot = house.engine.snapshot()
        if told is None:
            news = _wire("whole", whole(snapshot))
        elif snapshot.version != told.version:
            news = _wire("change", change(told, snapshot))
        elif time.monotonic() - spoke >= BEAT_S:
            news = _wire("beat", {"version": snapshot.version, "now": time.time()})
        else:
            news = b""
        told = snapshot
        if news:
            yield news
            spoke = time.monotonic()
        try:
            await asyncio.wait_for(house.ending.wait(), LOOK_S)
        except TimeoutError:
            continue


def _wire(kind: str, data: dict[str, Any]) -> bytes:
    # ASCII: a name may hold halves of characters that no encoding takes.
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
