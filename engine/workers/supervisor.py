"""One worker under supervision: frames sorted by request, deadlines kept, its end explained.

A worker that garbles a frame, falls silent or overstays is killed; whatever ended it, every
request in flight learns of it once, and ``ended`` holds the one explanation.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any, TypeVar

from engine.second import until_second
from engine.settings import Deadlines
from engine.workers.exits import WorkerExit, read_tail
from engine.workers.placement import Connection, Ending, Placement, Spawn
from engine.workers.protocol import (
    PROTOCOL,
    Cancel,
    Decoder,
    Delta,
    Failed,
    Finished,
    FromWorker,
    Generate,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    Probe,
    Probed,
    Progress,
    ProtocolError,
    Shutdown,
    Started,
    Stats,
    ToWorker,
    encode,
    parse_from_worker,
)

STOPPED = "stopped"
"""The cause of an end that was asked for."""
_TICK_S = (0.25, 1.0)
"""Deadlines are looked at so often, at most and at least: fifteen times in the shortest of them."""
_EXIT_PATIENCE_S = 0.5
"""How long a worker that closed its socket may take to be gone before it is killed."""

Sink = Callable[["Answer"], None]
T = TypeVar("T")
Answer = Started | Delta | Progress | Finished | Failed | WorkerExit
"""What a request's queue holds; Finished, Failed and WorkerExit are each the last."""


class WorkerDied(Exception):
    """The worker ended while something was asked of it."""

    def __init__(self, end: WorkerExit) -> None:
        super().__init__(end.cause)
        self.end = end


class LoadFailed(Exception):
    """The worker could not load the model, and lives to say so."""

    def __init__(self, failed: Failed, stderr_tail: str) -> None:
        super().__init__(failed.message)
        self.failed = failed
        self.stderr_tail = stderr_tail


class Supervisor:
    """Talks to one worker process and watches over it. Build with :meth:`start`."""

    def __init__(self, connection: Connection, spawn: Spawn, deadlines: Deadlines) -> None:
        loop = asyncio.get_running_loop()
        self.spawn = spawn
        self.pid = connection.pid
        self.hello: asyncio.Future[Hello] = loop.create_future()
        self.ended: asyncio.Future[WorkerExit] = loop.create_future()
        self.stats: Stats | None = None
        self.on_stats: Callable[[Stats], None] | None = None
        self.on_death: Callable[[WorkerExit], None] | None = None
        """Called at the end, while every request that was in flight still is."""
        self._connection = connection
        self._deadlines = deadlines
        self._load: asyncio.Future[Loaded | Failed] | None = None
        self._load_deadline_s = 0.0
        self._on_progress: Callable[[Progress], None] | None = None
        self._requests: dict[str, Sink] = {}
        self._decoding: set[str] = set()
        self._probes: dict[str, asyncio.Future[Probed]] = {}
        self._spoke_at = self._worked_at = time.monotonic()
        self._killed_for = ""
        self._tear = ""
        self._reader = asyncio.create_task(self._read(), name=f"reader-{self.pid}")
        self._watcher = asyncio.create_task(self._watch(), name=f"watch-{self.pid}")

    @classmethod
    async def start(cls, placement: Placement, spawn: Spawn, deadlines: Deadlines) -> "Supervisor":
        """Start a worker; ``hello`` resolves once its backend is imported.

        Raises:
            SpawnError: no process could be started.
        """
        return cls(await placement.start(spawn), spawn, deadlines)

    # -- what may be asked ----------------------------------------------------------------------

    async def greeting(self) -> Hello:
        """Wait for the worker's first frame. Raises WorkerDied."""
        return await self._or_death(self.hello)

    async def load(
        self, frame: Load, on_progress: Callable[[Progress], None], deadline_s: float
    ) -> Loaded:
        """Load a model.

        Args:
            on_progress: Called with every progress frame of the load.
            deadline_s: Longest silence between progress frames, in seconds.

        Raises:
            LoadFailed: the worker says it cannot.
            WorkerDied: it died trying.
        """
        await self.greeting()
        self._load = asyncio.get_running_loop().create_future()
        self._load_deadline_s = deadline_s
        self._on_progress = on_progress
        self._worked_at = time.monotonic()
        self._send(frame)
        try:
            answer = await self._or_death(self._load)
        finally:
            self._load = None
        if isinstance(answer, Failed):
            raise LoadFailed(answer, read_tail(await self._connection.stderr_tail()))
        return answer

    def generate(self, frame: Generate, sink: "Sink | None" = None) -> "asyncio.Queue[Answer]":
        """Start a request; the last of its answers ends it.

        Args:
            sink: Called with each answer the moment it arrives, instead of queueing it.

        Raises:
            ProtocolError: the request is too long for a frame; nothing was sent.
        """
        data = encode(frame)
        queue: asyncio.Queue[Answer] = asyncio.Queue()
        sink = sink or queue.put_nowait
        if self.ended.done():
            sink(self.ended.result())
            return queue
        if not self._requests:
            self._worked_at = time.monotonic()
        self._requests[frame.id] = sink
        self._connection.send(data)
        return queue

    def cancel(self, request_id: str) -> None:
        """Ask for a request's end; its queue then receives Finished(cancelled)."""
        if request_id in self._requests:
            self._send(Cancel(id=request_id))

    async def probe(self, frame: Probe, deadline_s: float) -> Probed:
        """Ask a canary question.

        Raises:
            TimeoutError: no answer within ``deadline_s`` seconds.
            WorkerDied: the worker died of it.
        """
        future: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self._probes[frame.id] = future
        self._send(frame)
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that meets the answer.
            async with asyncio.timeout(deadline_s):
                return await self._or_death(future)
        finally:
            self._probes.pop(frame.id, None)

    def kill(self, reason: str, signal_number: int = signal.SIGKILL) -> None:
        """Kill the worker; ``reason`` becomes the cause of its end."""
        self._killed_for = self._killed_for or reason
        self._connection.kill(signal_number)

    async def stop(self, grace_s: float) -> WorkerExit:
        """End the worker: ask, wait ``grace_s`` seconds, then kill. Safe to call twice."""
        self._killed_for = self._killed_for or STOPPED
        if not self.ended.done():
            self._send(Shutdown())
            await asyncio.wait({self.ended}, timeout=grace_s)
        if not self.ended.done():
            self._connection.kill(signal.SIGKILL)
        return await asyncio.shield(self.ended)

    @property
    def asked(self) -> frozenset[str]:
        """The ids of the requests it has not ended yet."""
        return frozenset(self._requests)

    @property
    def alive(self) -> bool:
        """Whether the worker has not ended."""
        return not self.ended.done()

    # -- how it works ---------------------------------------------------------------------------

    def _send(self, frame: ToWorker) -> None:
        self._connection.send(encode(frame))

    async def _or_death(self, future: "asyncio.Future[T]") -> T:
        waited: set[asyncio.Future[Any]] = {future, self.ended}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        raise WorkerDied(self.ended.result())

    async def _read(self) -> None:
        exited = asyncio.ensure_future(self._connection.wait())
        # A process forked by the worker may hold its end of the socket open after its death.
        exited.add_done_callback(lambda _: self._connection.hang_up())
        try:
            await self._take_in()
            end = await self._see_off(exited)
        except asyncio.CancelledError:
            # The event loop is being taken down around us: nobody will wait for the process.
            self._connection.kill(signal.SIGKILL)
            self._bury(WorkerExit(time.time(), -signal.SIGKILL, "", STOPPED))
            raise
        self._bury(end)

    async def _take_in(self) -> None:
        decoder = Decoder()
        try:
            while data := await self._connection.receive():
                self._spoke_at = time.monotonic()
                for body in decoder.feed(data):
                    self._dispatch(parse_from_worker(body))
            if decoder.torn and not self._killed_for:
                self._torn("the connection ended inside a frame")
        except ProtocolError as error:
            self._torn(str(error))

    def _torn(self, what: str) -> None:
        # A worker that died inside a write tears its last frame; then its own end is the cause.
        self._tear = f"torn frame: {what}"

    def _dispatch(self, frame: FromWorker) -> None:
        if isinstance(frame, Delta):  # first, for there is one with every token
            self._answer(frame)
            return
        match frame:
            case Hello():
                if frame.protocol != PROTOCOL:
                    raise ProtocolError(f"speaks protocol {frame.protocol}, not {PROTOCOL}")
                if not self.hello.done():
                    self.hello.set_result(frame)
            case Progress(id=None):
                self._worked_at = self._spoke_at
                if self._on_progress is not None:
                    self._on_progress(frame)
            case Loaded() | Failed(id=None):
                if self._load is not None and not self._load.done():
                    self._load.set_result(frame)
            case Started() | Progress() | Finished() | Failed():
                self._answer(frame)
            case Probed():
                self._worked_at = self._spoke_at
                if (probe := self._probes.get(frame.id)) and not probe.done():
                    probe.set_result(frame)
            case Stats():
                self.stats = frame
                if self.on_stats is not None:
                    self.on_stats(frame)
            case Heartbeat():
                pass

    def _answer(self, frame: Started | Delta | Progress | Finished | Failed) -> None:
        self._worked_at = self._spoke_at
        sink = self._requests.get(frame.id or "")
        if sink is None or frame.id is None:
            return
        if isinstance(frame, Delta):
            self._decoding.add(frame.id)
        elif isinstance(frame, Failed) and frame.kind == "internal":
            return  # the worker ends of it at once, and its end says more
        elif isinstance(frame, Finished | Failed):
            del self._requests[frame.id]
            self._decoding.discard(frame.id)
        sink(frame)

    async def _watch(self) -> None:
        limits = self._deadlines
        shortest = min(limits.start_s, limits.heartbeat_s, limits.first_token_s, limits.silence_s)
        while True:
            patience = min(shortest, self._load_deadline_s or shortest)
            await until_second(min(max(patience / 15, _TICK_S[0]), _TICK_S[1]))
            if self._connection.cut:
                self._spoke_at = self._worked_at = time.monotonic()
            elif overdue := self._overdue(time.monotonic()):
                self.kill(overdue)
                return

    def _overdue(self, now: float) -> str:
        """Which deadline has passed, in words, or empty."""
        limits = self._deadlines
        silent, idle = now - self._spoke_at, now - self._worked_at
        if not self.hello.done():
            return f"start took over {limits.start_s:g} s" if silent > limits.start_s else ""
        if self._load is not None:
            late = idle > self._load_deadline_s
            return f"load silent for {self._load_deadline_s:g} s" if late else ""
        if self._probes:
            return ""  # the canary keeps its own deadlines
        if self._requests:
            # A request behind others in the queue is not silent while those progress.
            limit = limits.silence_s if self._decoding else limits.first_token_s
            return f"hang: silent for {limit:g} s" if idle > limit else ""
        late = silent > limits.heartbeat_s
        return f"hang: no heartbeat for {limits.heartbeat_s:g} s" if late else ""

    async def _see_off(self, exited: "asyncio.Future[Ending]") -> WorkerExit:
        """Wait for the exit and say why it came."""
        await asyncio.wait({exited}, timeout=_EXIT_PATIENCE_S)
        if not exited.done():
            self.kill(self._tear or "closed its socket and stayed")
        ending = await exited
        status = ending.status
        tail = read_tail(await self._connection.stderr_tail())
        tear = self._tear if status >= 0 else ""
        killed_for = self._killed_for or ending.reason or tear
        unexplained = status == -signal.SIGKILL and not killed_for
        return WorkerExit(
            at=time.time(),
            status=status,
            stderr_tail=tail,
            killed_for=killed_for,
            part=ending.part if killed_for != STOPPED else "",
            out_of_memory=unexplained and ending.memory_killer,
            host_lost=ending.host_lost,
        )

    def _bury(self, end: WorkerExit) -> None:
        """Tell everybody who waits, each once."""
        self._watcher.cancel()
        self._connection.close()
        if self.on_death is not None:
            self.on_death(end)
        self.ended.set_result(end)
        sinks, self._requests = list(self._requests.values()), {}
        for sink in sinks:
            sink(end)
