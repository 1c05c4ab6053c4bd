"""Spare workers: one per runtime, its backend imported, so that a load never pays the import."""

import asyncio
import contextlib
from collections.abc import Collection

from engine.settings import Deadlines
from engine.workers.placement import Placement, Spawn, SpawnError
from engine.workers.supervisor import Supervisor


class Spares:
    """Keeps at most one waiting worker per kind and hands it out on request."""

    def __init__(self, placement: Placement, deadlines: Deadlines, *, keep: bool) -> None:
        self._placement = placement
        self._deadlines = deadlines
        self._keep = keep
        self._waiting: dict[Spawn, Supervisor] = {}
        self._filling: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, spawn: Spawn) -> Supervisor:
        """A worker of this kind: the spare when one is alive, else a new one.

        Raises:
            SpawnError: no process could be started.
        """
        spare = self._waiting.pop(spawn, None)
        if spare is not None and spare.alive:
            return spare
        return await Supervisor.start(self._placement, spawn, self._deadlines)

    def prepare(self, spawn: Spawn) -> None:
        """Have a spare of this kind ready soon. Does nothing when one waits already, and for a
        worker of several processes: too much would stand idle for a load that is rare."""
        if not self._keep or self._closed or spawn in self._waiting or spawn.ranks > 1:
            return
        task = asyncio.create_task(self._fill(spawn), name=f"spare-{spawn.runtime}")
        self._filling.add(task)
        task.add_done_callback(self._filling.discard)

    async def _fill(self, spawn: Spawn) -> None:
        # A spare that cannot start is no news: the load that needs a worker will say why.
        with contextlib.suppress(SpawnError):
            worker = await Supervisor.start(self._placement, spawn, self._deadlines)
            if self._closed or spawn in self._waiting:
                await worker.stop(0)
            else:
                self._waiting[spawn] = worker

    def keep_only(self, wanted: Collection[Spawn]) -> None:
        """End the spares of kinds that no model is to run in any more."""
        for spawn in self._waiting.keys() - wanted:
            task = asyncio.create_task(self._end(self._waiting.pop(spawn)), name="spare-ends")
            self._filling.add(task)
            task.add_done_callback(self._filling.discard)

    async def _end(self, spare: Supervisor) -> None:
        await spare.stop(0)

    async def close(self) -> None:
        """End every spare."""
        self._closed = True
        if self._filling:
            await asyncio.wait(self._filling)
        waiting, self._waiting = list(self._waiting.values()), {}
        await asyncio.gather(*(worker.stop(0) for worker in waiting))
