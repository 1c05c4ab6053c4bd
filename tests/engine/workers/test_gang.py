"""Real processes held together as one worker: simulated ranks that really die."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.settings import Deadlines
from engine.types import Backend
from engine.workers.exits import WorkerExit
from engine.workers.gang import Gang, GangPlacement
from engine.workers.placement import Connection, Ending, Placement, Spawn, SpawnError
from engine.workers.ports import Ports
from engine.workers.process import LocalPlacement
from engine.workers.protocol import Delta, Failed, Finished, Load, Loaded
from engine.workers.supervisor import LoadFailed, Supervisor, WorkerDied
from tests.engine.puppet import PuppetWorker
from tests.process import ended
from tests.worker_client import ask

PATIENCE_S = 60.0
RANKS = 3
SPAWN = Spawn(Backend.SIMULATED, Path(sys.executable), "default", RANKS)
Start = Callable[..., Awaitable[Supervisor]]


class Watched:
    """The placement below a gang, which knows every process it started."""

    def __init__(self, refuse_from: int = 99) -> None:
        self.started: list[Connection] = []
        self._below: Placement = LocalPlacement()
        self._refuse_from = refuse_from

    async def start(self, spawn: Spawn) -> Connection:
        if len(self.started) >= self._refuse_from:
            raise SpawnError("no room for a process")
        connection = await self._below.start(spawn)
        self.started.append(connection)
        return connection

    @property
    def left(self) -> list[int]:
        """The processes that still run."""
        return [one.pid for one in self.started if not ended(one.pid)]


@pytest.fixture
def below() -> Watched:
    return Watched()


@pytest.fixture
async def start(below: Watched) -> AsyncIterator[Start]:
    made: list[Supervisor] = []

    async def start(**deadlines: float) -> Supervisor:
        limits = Deadlines.model_validate(deadlines)
        worker = await Supervisor.start(GangPlacement(below), SPAWN, limits)
        made.append(worker)
        return worker

    yield start
    for worker in made:
        await worker.stop(0)
    assert not below.left


async def load(worker: Supervisor, folder: Path, *faults: dict[str, Any], **script: Any) -> Loaded:
    plan = {"kind": "simulated", "load_seconds": 0.05, "weights_gb": 0.3, "faults": faults}
    quick = {"tokens_per_second": 1000}
    (folder / "simulated.json").write_text(json.dumps(plan | quick | script))
    frame = Load(model_id="m", path=str(folder), context=2048)
    async with asyncio.timeout(PATIENCE_S):
        return await worker.load(frame, lambda _: None, PATIENCE_S)


async def test_three_processes_are_one_worker(start: Start, below: Watched, tmp_path: Path) -> None:
    worker = await start()
    loaded = await load(worker, tmp_path)
    assert len(below.left) == RANKS
    assert worker.pid == below.started[0].pid
    assert loaded.memory_bytes == 300_000_000  # of all of them
    answers = worker.generate(ask("a", max_tokens=3))
    text, answer = "", await answers.get()
    while not isinstance(answer, Finished | Failed | WorkerExit):
        text += answer.text if isinstance(answer, Delta) else ""
        answer = await answers.get()
    assert text == "It works."
    end = await worker.stop(5)
    assert (end.cause, end.status) == ("stopped", 0)
    assert not below.left


@pytest.mark.parametrize("rank", [0, 1])
async def test_one_rank_dead_is_the_worker_dead(
    rank: int, start: Start, below: Watched, tmp_path: Path
) -> None:
    worker = await start()
    await load(worker, tmp_path, tokens_per_second=5)
    answers = worker.generate(ask("a", max_tokens=500))
    os.kill(below.started[rank].pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        end = await asyncio.shield(worker.ended)
    assert (end.signal, end.part) == ("SIGKILL", f"rank {rank} of 3")
    assert end.cause == f"SIGKILL in rank {rank} of 3"
    assert not below.left
    last = [answers.get_nowait() for _ in range(answers.qsize())][-1]
    assert last is end


async def test_the_last_words_are_those_of_the_rank_that_died(start: Start, tmp_path: Path) -> None:
    worker = await start()
    fault = {"when": "token", "after": 2, "do": "abort", "rank": 2}
    await load(worker, tmp_path, fault, tokens_per_second=50)
    worker.generate(ask("a", max_tokens=500))
    async with asyncio.timeout(PATIENCE_S):
        end = await asyncio.shield(worker.ended)
    assert end.cause == "SIGABRT in rank 2 of 3"
    assert "GGML_ASSERT(simulated) failed" in end.stderr_tail


async def test_a_rank_that_cannot_load_is_named(start: Start, tmp_path: Path) -> None:
    worker = await start()
    with pytest.raises(LoadFailed) as failed:
        await load(worker, tmp_path, {"when": "load", "do": "oom", "rank": 1})
    assert failed.value.failed.message.startswith("rank 1 of 3: failed to allocate")
    assert "failed to allocate buffer" in failed.value.stderr_tail


async def test_a_rank_that_garbles_its_frames_ends_all(start: Start, tmp_path: Path) -> None:
    worker = await start()
    await load(worker, tmp_path, {"when": "token", "do": "torn_frame", "rank": 1})
    worker.generate(ask("a"))
    async with asyncio.timeout(PATIENCE_S):
        end = await asyncio.shield(worker.ended)
    assert end.killed_for == "torn frame: the connection ended inside a frame"
    assert end.part == "rank 1 of 3"


async def test_an_idle_rank_that_hangs_is_found_and_named(
    start: Start, below: Watched, tmp_path: Path
) -> None:
    worker = await start(heartbeat_s=4.0)
    await load(worker, tmp_path)
    os.kill(below.started[1].pid, signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE_S):
        end = await asyncio.shield(worker.ended)
    assert end.cause == "hang: no heartbeat for 4 s in rank 1 of 3"


class Far(PuppetWorker):
    """A rank on another host: of its end the news comes late, and no signal reaches it then."""

    host = "far"

    struck = False

    def kill(self, signal_number: int) -> None:
        pass

    def strike(self) -> None:
        """Its machine's memory killer takes it."""
        self.struck = True
        self.end(-signal.SIGKILL)

    async def wait(self) -> Ending:
        return replace(await super().wait(), memory_killer=self.struck)


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        (lambda far: far.bereave("its node is gone"), Ending(0, host_lost="its node is gone")),
        (lambda far: far.end(-signal.SIGSEGV), Ending(-signal.SIGSEGV)),
        (lambda far: far.strike(), Ending(-signal.SIGKILL, memory_killer=True)),
    ],
)
async def test_a_rank_whose_end_is_told_late_is_blamed_and_not_one_that_lost_it(
    fate: Callable[[Far], None], told: Ending
) -> None:
    kinds = (PuppetWorker, Far, PuppetWorker)
    here, far, other = (kind(n, lambda: "", lambda: False) for n, kind in enumerate(kinds))
    assert isinstance(far, Far)
    gang = Gang((here, far, other))
    here.end(1, b"[ring] connection to a peer was lost")
    while other.alive:  # noqa: ASYNC110 - the watch kills it
        await asyncio.sleep(0)
    fate(far)
    async with asyncio.timeout(PATIENCE_S):
        assert await gang.wait() == replace(told, part="rank 1 of 3 on far")
    gang.close()


async def test_a_gang_that_is_let_go_of_leaves_nobody(below: Watched, tmp_path: Path) -> None:
    connection = await GangPlacement(below).start(SPAWN)
    assert len(below.left) == RANKS
    connection.close()
    async with asyncio.timeout(PATIENCE_S):
        while below.left:  # noqa: ASYNC110 - nobody tells of a process without a parent's wait
            await asyncio.sleep(0.02)


async def test_a_gang_that_cannot_be_whole_is_none() -> None:
    below = Watched(refuse_from=2)
    with pytest.raises(SpawnError, match="no room"):
        await GangPlacement(below).start(SPAWN)
    assert len(below.started) == 2
    assert not below.left


async def test_a_rank_dead_before_its_greeting_is_the_worker_dead(
    start: Start, below: Watched
) -> None:
    worker = await start()
    os.kill(below.started[2].pid, signal.SIGKILL)
    with pytest.raises(WorkerDied) as died:
        async with asyncio.timeout(PATIENCE_S):
            await worker.greeting()
    assert died.value.end.part == "rank 2 of 3"


def test_ports_stay_free_for_whoever_listens_as_mlx_does() -> None:
    ports = Ports(3)
    try:
        assert len(set(ports.addresses)) == 3
        host, _, port = ports.addresses[0].rpartition(":")
        stranger = socket.socket()
        with pytest.raises(OSError, match="in use"):
            stranger.bind((host, int(port)))
        stranger.close()
        rank = socket.socket()
        rank.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rank.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        rank.bind((host, int(port)))
        rank.listen(0)
        with socket.create_connection((host, int(port)), timeout=10):
            pass
        rank.close()
    finally:
        ports.close()
