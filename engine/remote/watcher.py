"""Keeps a picture of an engine in another process, over lost connections and its restarts."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from engine.delta import PROTOCOL, Gap, changed, read_whole
from engine.errors import EngineError
from engine.face import FaceMismatch, OutOfReach
from engine.remote.chronicle import Chronicle
from engine.remote.link import Link
from engine.remote.sse import Told, events_of
from engine.types import EngineSnapshot, Notice

DUE_S = 1.5
"""A sign of life is due each second; so long without one, and the silence counts."""
SILENT_S = 5.0
"""A connection that says nothing for so long is given up for a new one."""
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between one try and the next; the last one is repeated."""
LINK = "link"


def check_face(name: str, face: object, theirs: str, ours: str) -> None:
    """Whether this console can read an engine.

    Args:
        name: Where the engine answers.
        face: The number it gives; None for one that gives none.
        theirs, ours: The programs' versions, for people.

    Raises:
        FaceMismatch: it cannot.
    """
    if face == PROTOCOL:
        return
    speaks = f"speaks face {face}" if face is not None else "cannot be attached to"
    newer = isinstance(face, int) and face > PROTOCOL
    what = "this console" if newer else "the engine"
    raise FaceMismatch(
        f"the engine at {name} is Opta-LMX {theirs} and {speaks}; this console is {ours} and "
        f"speaks face {PROTOCOL}: upgrade {what}, or use the console of the engine's own version"
    )


class Watcher:
    """Follows ``/admin/watch``.

    Args:
        version: Of this program.
        clock: Unix seconds of this machine.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self,
        link: Link,
        *,
        version: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.snapshot = EngineSnapshot(version=0, taken_at=clock())
        """The newest there is; its version counts on here when the engine begins anew."""
        self.boot = ""
        """The engine's present life."""
        self.readonly = False
        self.mismatch: FaceMismatch | None = None
        self.known = asyncio.Event()
        """Set once the engine's state is known, or that it never will be."""
        self.ahead_s = 0.0
        """How far the engine's clock is ahead of this machine's, in seconds."""
        self.chronicle = Chronicle(link)
        self._link = link
        self._version = version
        self._clock = clock
        self._monotonic = monotonic
        self._theirs = self.snapshot
        self._base = 1
        self._heard_at = monotonic()
        self._trouble = ""

    def silent_s(self) -> float:
        """Seconds since the last sign of life, once one is overdue."""
        silent = self._monotonic() - self._heard_at
        return silent if silent > DUE_S else 0.0

    async def run(self) -> None:
        """Watch until cancelled, or until the engine turns out to be of another kind."""
        tries = 0
        while self.mismatch is None:
            try:
                await self._watch()
                tries = 0
            except (OutOfReach, Gap, EngineError) as error:
                tries = 0 if isinstance(error, Gap) or not self._trouble else tries
                self._lost(str(error))
            except FaceMismatch as error:
                self.mismatch = error
                self.known.set()
                return
            await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
            tries += 1

    async def _watch(self) -> None:
        async with (
            self._link.open("GET", "/admin/watch", silent_s=SILENT_S) as answer,
            aclosing(events_of(answer.lines())) as events,
        ):
            async for told in events:
                self._hear(told)
                self._heard_at = self._monotonic()

    def _hear(self, told: Told) -> None:
        data = told.data if isinstance(told.data, dict) else {}
        match told.kind:
            case "hello":
                self._greeted(data)
            case "whole":
                self._take(read_whole(data))
            case "change":
                self._take(changed(self._theirs, data))
            case "beat" if data.get("version") != self._theirs.version:
                raise Gap(f"the engine is at {data.get('version')}")

    def _greeted(self, data: dict[str, Any]) -> None:
        check_face(self._link.name, data.get("face"), str(data.get("version")), self._version)
        boot = str(data.get("boot", ""))
        if boot != self.boot:
            # Another life counts from one again; what is shown here never goes back.
            self._base = self.snapshot.version + 1
            self.boot = boot
        self.readonly = bool(data.get("readonly"))
        now = data.get("now")
        self.ahead_s = float(now) - self._clock() if isinstance(now, int | float) else 0.0

    def _take(self, theirs: EngineSnapshot) -> None:
        self._theirs = theirs
        self._trouble = ""
        self.chronicle.hear(theirs.events)
        self._show()
        self.known.set()

    def _lost(self, why: str) -> None:
        """Say under the header what is in the way, for as long as it is."""
        if why != self._trouble:
            self._trouble = why
            self._base += 1
            self._show()

    def _show(self) -> None:
        notices = self._theirs.notices
        if self._trouble:
            notices = (Notice(LINK, f"{self._trouble}; trying again", "error"), *notices)
        version = self._base + self._theirs.version
        self.snapshot = replace(self._theirs, version=version, notices=notices)
