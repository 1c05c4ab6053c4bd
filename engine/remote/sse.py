"""Server-sent events out of lines."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """One event: its name, its id, and its data read as JSON."""

    kind: str
    id: str
    data: Any


async def events_of(lines: AsyncIterator[str]) -> AsyncGenerator[Told, None]:
    """Events as they come. Comments are left out, and so is data that is no JSON (``[DONE]``)."""
    kind, event_id = "", ""
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                try:
                    told = json.loads("\n".join(data))
                except ValueError:
                    told = None
                if told is not None:
                    yield Told(kind, event_id, told)
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "id":
                event_id = value
            case "data":
                data.append(value)
