"""The engine's end of the way to one host: orders out, tidings in, and whether it is there at all.

One call is always waiting at the agent for news. What workers say while it is on its way comes
with the next, so that many tokens cost one call when there are many; and since it is answered at
least once a second, it is the sign of life as well.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from engine.cluster.distant import DistantPorts, DistantWorker
from engine.cluster.letters import Order, Tidings
from engine.cluster.line import Line, LineDown
from engine.errors import EngineError
from engine.fleet.quarters import no_ports
from engine.lives.host_loss import host_gone
from engine.memory import Memory
from engine.workers.placement import Spawn, SpawnError

STALE_S = 3.0
"""So long without a word, and the host is called stale; the console's own measure."""
_TICK_S = 0.25
_PAUSE_S = 0.2
"""Before a call that went wrong is tried again."""


class Link:
    """Everything that goes to and comes from one agent.

    Args:
        name: The host's.
        memory: As the host reported it.
        deadline_s: So long without a word, and the host is given up.
        on_stale: Told the moment it was last heard, in Unix seconds.
        on_heard: Called when a stale host is heard again.
        on_lost: Told why, once, before its workers' connections end.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        memory: Memory,
        *,
        deadline_s: float,
        on_stale: Callable[[float], None],
        on_heard: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.name = name
        self.memory = memory
        self.stale = False
        self.lost = ""
        """Why it is given up; empty while it is not."""
        self._line = line
        self._deadline_s = deadline_s
        self._on_stale, self._on_heard, self._on_lost = on_stale, on_heard, on_lost
        self._workers: dict[int, DistantWorker] = {}
        self._count = 0
        self._outbox: list[Order] = []
        self._waiting = asyncio.Event()
        self._heard_at = time.monotonic()
        work = (self._listen(), self._speak(), self._watch())
        self._tasks = tuple(asyncio.create_task(each, name=f"link-{name}") for each in work)

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Have the agent do something and wait for the answer.

        Raises:
            EngineError: ``model_not_ready``; the host cannot be asked.
        """
        if self.lost:
            raise EngineError(host_gone(self.name, self.lost))
        if self.stale:
            raise EngineError(host_gone(self.name, "it is not heard any more"))
        try:
            return await self._line.ask(method, *arguments)
        except LineDown as down:
            raise EngineError(host_gone(self.name, str(down))) from down

    def order(self, what: str, worker: int, value: bytes | int = 0) -> None:
        """Put an order on its way; orders arrive in their order."""
        if not self.lost:
            self._outbox.append((what, worker, value))
            self._waiting.set()

    async def start(self, spawn: Spawn) -> DistantWorker:
        """Start a worker there. Raises SpawnError."""
        # Known before it is started: what it says may overtake the answer.
        self._count += 1
        number = self._count
        worker = self._workers[number] = DistantWorker(self, number)
        try:
            answer = await self.ask("start", number, spawn)
        except EngineError as error:
            worker.close()  # it may have been started all the same
            raise SpawnError(error.decision.message) from error
        except asyncio.CancelledError:
            worker.close()
            raise
        if isinstance(answer, str):
            self.forget(number)
            raise SpawnError(answer)
        worker.pid = answer
        return worker

    async def ports(self, count: int, address: str) -> DistantPorts:
        """Keep ports there for ranks to meet at. Raises EngineError."""
        self._count += 1
        number = self._count
        try:
            answer = await self.ask("ports", number, count, address)
        except (EngineError, asyncio.CancelledError):
            self.order("free", number)  # they may be kept all the same
            raise
        if isinstance(answer, str):
            raise EngineError(no_ports(address, answer))
        return DistantPorts(self, number, answer)

    def forget(self, number: int) -> None:
        """Nobody listens to this worker any more."""
        self._workers.pop(number, None)

    async def close(self) -> None:
        """The engine ends: let the agent go, and with it its workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self.lost = self.lost or "the engine has left the cluster"
        self._line.end()

    # -- how it works ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        after = 0
        while True:
            try:
                tidings: Tidings = await self._line.ask("listen", after)
            except LineDown as down:
                if down.final:
                    self._lose(str(down))
                    return
                await asyncio.sleep(_PAUSE_S)
                continue
            after = tidings.number
            self.memory = tidings.memory
            self._hear()
            self._deliver(tidings)

    def _deliver(self, tidings: Tidings) -> None:
        for number, data in tidings.said.items():
            if (worker := self._workers.get(number)) is not None:
                worker.hear(data)
        for number in tidings.closed:
            if (worker := self._workers.get(number)) is not None:
                worker.hear(b"")
        for parting in tidings.ended:
            if (worker := self._workers.get(parting.worker)) is not None:
                worker.part(parting.ending, parting.stderr_tail)

    async def _speak(self) -> None:
        number = 0
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            orders, self._outbox = tuple(self._outbox), []
            number += 1
            while True:
                try:
                    await self._line.ask("tell", number, orders)
                    break
                except LineDown as down:
                    if down.final:
                        return  # the listener is told the same
                    await asyncio.sleep(_PAUSE_S)

    def _hear(self) -> None:
        self._heard_at = time.monotonic()
        if self.stale:
            self.stale = False
            self._on_heard()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            silent = time.monotonic() - self._heard_at
            if silent > self._deadline_s:
                self._lose(f"nothing heard of it for {self._deadline_s:g} s")
                return
            if silent > STALE_S and not self.stale:
                self.stale = True
                self._on_stale(time.time() - silent)

    def _lose(self, why: str) -> None:
        if self.lost:
            return
        self.lost = why
        self._on_lost(why)
        for worker in tuple(self._workers.values()):
            worker.bereave(why)
        self._line.end()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
