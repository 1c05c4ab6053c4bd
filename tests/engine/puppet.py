"""Workers without processes: the same frames, the same ends, at a test's word."""

import asyncio
from collections.abc import Callable

from engine.types import Backend
from engine.workers.placement import Connection, Ending, Spawn
from engine.workers.protocol import (
    PROTOCOL,
    Cancel,
    Decoder,
    Delta,
    Finished,
    FromWorker,
    Generate,
    Hello,
    Load,
    Loaded,
    Probe,
    Probed,
    Shutdown,
    encode,
    parse_to_worker,
)


class PuppetWorker:
    """One worker that does as it is told. Unknown to it, nothing is ever computed."""

    host = ""
    cut = False

    def __init__(self, pid: int, version: Callable[[], str], sick: Callable[[], bool]) -> None:
        self.pid = pid
        self.alive = True
        self._version = version
        self._sick = sick
        self._decoder = Decoder()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stderr = b""
        self._lost = ""
        self._say(
            Hello(
                protocol=PROTOCOL,
                pid=pid,
                backend=Backend.SIMULATED,
                backend_version="simulated 1.0",
                device="none",
            )
        )

    def _say(self, *frames: FromWorker) -> None:
        for frame in frames:
            self._inbox.put_nowait(encode(frame))

    def end(self, status: int, stderr: bytes = b"") -> None:
        """Die: an exit status, or minus a signal's number."""
        if self.alive:
            self.alive = False
            self._stderr = stderr
            self._inbox.put_nowait(b"")
            self._status.set_result(status)

    def bereave(self, why: str) -> None:
        """Its host is gone."""
        self._lost = why
        self.end(0)

    # -- engine.workers.placement.Connection ----------------------------------------------------

    async def receive(self) -> bytes:
        return await self._inbox.get()

    def send(self, data: bytes) -> None:
        if not self.alive:
            return
        for body in self._decoder.feed(data):
            self._answer(parse_to_worker(body))

    def _answer(self, frame: object) -> None:
        match frame:
            case Load():
                self._say(
                    Loaded(context=512, vocabulary=9, chat=True, backend_version=self._version())
                )
            case Probe() as probe:
                well = not (probe.name == "logits" and self._sick())
                values = {"perplexity": 12.0, "tokens": 5.0, "spread": 9.0}
                said = probe.messages[0].content if probe.messages else ""
                self._say(Probed(id=probe.id, name=probe.name, ok=well, values=values, text=said))
            case Generate() as request:
                if request.ignore_eos:  # the canary wants to cancel this one
                    self._say(Delta(id=request.id, text="on"))
                    return
                words = ("It", " works", " well", ".")
                deltas = (Delta(id=request.id, text=word) for word in words)
                end = Finished(
                    id=request.id, reason="stop", prompt_tokens=3, completion_tokens=len(words)
                )
                self._say(*deltas, end)
            case Cancel() as cancel:
                self._say(
                    Finished(id=cancel.id, reason="cancelled", prompt_tokens=3, completion_tokens=1)
                )
            case Shutdown():
                self.end(0)
            case _:
                raise AssertionError(f"unexpected {frame!r}")

    def kill(self, signal_number: int) -> None:
        self.end(-signal_number)

    async def wait(self) -> Ending:
        return Ending(await asyncio.shield(self._status), host_lost=self._lost)

    async def stderr_tail(self) -> bytes:
        return self._stderr

    def hang_up(self) -> None:
        pass

    def close(self) -> None:
        self.end(-9)


class PuppetPlacement:
    """Makes puppets and keeps them all, so that a test can count who is left."""

    def __init__(self) -> None:
        self.workers: list[PuppetWorker] = []
        self.version = "simulated 1.0"
        self.sick = False
        """Whether the next canary finds NaN."""

    @property
    def alive(self) -> list[PuppetWorker]:
        return [worker for worker in self.workers if worker.alive]

    async def start(self, spawn: Spawn) -> Connection:
        worker = PuppetWorker(1000 + len(self.workers), lambda: self.version, lambda: self.sick)
        self.workers.append(worker)
        return worker
