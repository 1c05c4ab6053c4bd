"""The agent of one host: what the engine does on its own host, done there at its word.

It runs the same worker child by the same placement and relays its bytes; it looks at the files and
runs the gate by the same code. It decides nothing.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Sequence

from engine.admission.signatures import load_signatures
from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import Catalog
from engine.cluster.letters import Order, Parting, Report, Tidings, release
from engine.examiner import Examiner
from engine.face import LoadOptions
from engine.fleet.quarters import Known, OwnQuarters
from engine.fleet.runtimes import Runtime
from engine.home.place import default_home
from engine.machine import processor
from engine.memory import Memory, default_budget, machine_memory
from engine.settings import Settings
from engine.types import Explanation
from engine.workers.capability import Capabilities
from engine.workers.gang import GangPlacement
from engine.workers.placement import Connection, Spawn, SpawnError
from engine.workers.ports import Ports
from engine.workers.process import LocalPlacement

LISTEN_S = 1.0
"""An engine that hears nothing asks again so often; silence of this kind is a sign of life."""
BACKLOG = 8 * 1024 * 1024
"""Bytes that may wait for the engine; beyond it workers wait with writing."""
_MEMORY_S = 0.5
"""How old the figures of memory may be."""


class NodeAgent:
    """One host's workers and files.

    Args:
        name: What the engine calls this host; its folder here is named by it.
        settings: The engine's, with this host's folders.
        silence_s: An engine not heard for so long is gone: the workers end, and so does this.
    """

    def __init__(self, name: str, settings: Settings, silence_s: float) -> None:
        self._settings = settings
        self._silence_s = silence_s
        home = default_home() / "nodes" / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state_dir = home / "sim"
        self._state_dir.mkdir(mode=0o700, exist_ok=True)
        signatures, _ = load_signatures(settings.signatures)
        self._examiner = Examiner(settings, Capabilities(home), signatures)
        self._quarters = OwnQuarters(settings, self._examiner, self._state_dir)
        self._placement = GangPlacement(LocalPlacement(_environment()))
        self._workers: dict[int, Connection] = {}
        self._unwanted: set[int] = set()
        """Those the engine let go of before they had started."""
        self._ports: dict[int, Ports] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = 0
        self._said: dict[int, bytearray] = {}
        self._closed: list[int] = []
        self._ended: list[Parting] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._memory = machine_memory()
        self._measured_at = self._heard_at = time.monotonic()
        self._last = Tidings(0, {}, (), (), self._memory)

    # -- the host -------------------------------------------------------------------------------

    async def report(self) -> Report:
        """Say what this host is; its runtimes are looked for anew."""
        self._heard_at = time.monotonic()
        if not self._tasks:
            self._spawn(self._end_when_forgotten())
        await asyncio.to_thread(self._examiner.find_runtimes)
        return Report(
            release=release(),
            processor=processor(),
            runtimes=self._examiner.runtimes.all,
            memory=self._memory,
            budget=default_budget(self._settings.memory_gb),
            state_dir=self._state_dir,
        )

    async def scan(self) -> Catalog:
        """Find every model of this host."""
        found = await self._quarters.scan()
        return Catalog(found.entries, found.problems)  # a mapping proxy does not pickle

    async def fingerprint(self, entry: CatalogEntry) -> str:
        """The identity of a model's content."""
        return await self._quarters.fingerprint(entry)

    async def stamp(self, entry: CatalogEntry) -> str:
        """The inodes, sizes and times of its files."""
        return await self._quarters.stamp(entry)

    async def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions,
        known: Known,
        release: bool,
        print_of: str,
    ) -> tuple[Explanation, int | None]:
        """Run the gate; the device's limit, in bytes, is known with its answer."""
        found = await self._quarters.examine(
            entry, options, known, release=release, print_of=print_of
        )
        runtime = self._examiner.runtimes.choose(entry, options.runtime)
        return found, self._quarters.device_limit(runtime)

    async def probe(
        self, entry: CatalogEntry, options: LoadOptions, known: Known, print_of: str
    ) -> tuple[tuple[Explanation, ...], tuple[Runtime, ...]]:
        """Try every runtime that could run a model, and ask the gate about each."""
        found = await self._quarters.probe(entry, options, known, print_of=print_of)
        return found, self._examiner.runtimes.all

    # -- what ranks meet at ---------------------------------------------------------------------

    async def ports(self, number: int, count: int, address: str) -> tuple[str, ...] | str:
        """Keep so many ports of this address: where they are, or why there are none.

        Args:
            number: What the engine calls them.
        """
        try:
            held = self._ports[number] = Ports(count, address)
        except OSError as error:
            return str(error)
        return held.addresses

    def _free(self, number: int) -> None:
        if (held := self._ports.pop(number, None)) is not None:
            held.close()

    # -- the workers ----------------------------------------------------------------------------

    async def start(self, number: int, spawn: Spawn) -> int | str:
        """Start a worker: its process id, or why not.

        Args:
            number: What the engine calls it.
        """
        try:
            worker = await self._placement.start(spawn)
        except SpawnError as error:
            return str(error)
        if number in self._unwanted:
            self._unwanted.remove(number)
            worker.close()
            return worker.pid
        self._workers[number] = worker
        self._spawn(self._see_off(number, worker))
        return worker.pid

    async def stderr_tail(self, number: int) -> bytes:
        """What a worker that lives has written last on its standard error."""
        worker = self._workers.get(number)
        return await worker.stderr_tail() if worker is not None else b""

    async def tell(self, number: int, orders: Sequence[Order]) -> None:
        """Carry orders out, in order. The same number again changes nothing."""
        if number <= self._told:
            return
        self._told = number
        for what, which, value in orders:
            if what == "free":
                self._free(which)
            worker = self._workers.get(which)
            if worker is None:
                if what == "close":
                    self._unwanted.add(which)
                continue
            match what, value:
                case "send", bytes():
                    worker.send(value)
                case "kill", int():
                    worker.kill(value)
                case _:
                    worker.close()
                    self._workers.pop(which, None)

    async def listen(self, after: int) -> Tidings:
        """What has been said since; waits up to ``LISTEN_S`` for anything.

        Args:
            after: The number of the last tidings that arrived; the ones after them are told again.
        """
        self._heard_at = time.monotonic()
        if after < self._last.number:
            return self._last
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_S):
                await self._news.wait()
        self._news.clear()
        said = {number: bytes(data) for number, data in self._said.items()}
        closed, ended = tuple(self._closed), tuple(self._ended)
        self._said, self._closed, self._ended = {}, [], []
        self._room.set()
        self._last = Tidings(after + 1, said, closed, ended, self._measured())
        return self._last

    def _measured(self) -> Memory:
        now = time.monotonic()
        if now - self._measured_at > _MEMORY_S:
            self._memory, self._measured_at = machine_memory(), now
        return self._memory

    async def _relay(self, number: int, worker: Connection) -> None:
        while data := await worker.receive():
            self._said.setdefault(number, bytearray()).extend(data)
            if sum(map(len, self._said.values())) > BACKLOG:
                self._room.clear()
            self._news.set()
            await self._room.wait()
        self._closed.append(number)
        self._news.set()

    async def _see_off(self, number: int, worker: Connection) -> None:
        relay = asyncio.create_task(self._relay(number, worker))
        ending = await worker.wait()
        # A process forked by the worker may hold its end of the socket open after its death.
        worker.hang_up()
        await relay
        self._ended.append(Parting(number, ending, await worker.stderr_tail()))
        self._news.set()

    async def _end_when_forgotten(self) -> None:
        """End with every worker once the engine is not heard any more: it counts them as dead."""
        while True:
            left = self._heard_at + self._silence_s - time.monotonic()
            if left <= 0:
                os._exit(1)
            await asyncio.sleep(left)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _environment() -> dict[str, str]:
    """This process's environment without what Ray has set in it for an actor that asked for no
    processor and no GPU: a worker would compute on one thread, and on no GPU."""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    hidden = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    return {n: v for n, v in kept.items() if not (n in hidden and v == "")}
