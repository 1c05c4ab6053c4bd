"""What is told of hosts reaches a console beside the engine and one elsewhere, and no more."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine import Engine, EngineFace, EngineSnapshot, HostState
from engine.delta import change
from engine.machine import processor
from tests.console.faces import attached
from tests.engine.fleet.paper import GB, SOON_S, PaperCluster

HEARD = 1_700_000_000.0


async def shows(face: EngineFace, holds: Callable[[EngineSnapshot], bool]) -> EngineSnapshot:
    async with asyncio.timeout(SOON_S):
        while not holds(face.snapshot()):  # noqa: ASYNC110 - the console polls it too
            await asyncio.sleep(0.02)
    return face.snapshot()


def state(snapshot: EngineSnapshot) -> HostState:
    return snapshot.hosts[1].state


async def test_a_host_that_falls_silent_comes_back_and_is_lost_is_seen_by_every_console(
    tmp_path: Path,
) -> None:
    cluster = PaperCluster(tmp_path)
    cluster.put("own", "pair")
    cluster.put("b", "pair")
    async with cluster.engine() as engine, attached(engine, tmp_path / "attached") as face:
        assert [host.own for host in face.snapshot().hosts] == [True]
        await cluster.join("b", "c")
        seen = await shows(face, lambda s: len(s.hosts) == 3 and s.model("pair@b") is not None)
        own, b, _ = seen.hosts
        assert seen.hosts == engine.snapshot().hosts
        assert (own.own, own.devices) == (True, (processor(),))
        assert (b.own, b.address, b.devices, b.heard_at) == (False, "127.0.0.1", ("paper",), None)
        assert {runtime.backend.value for runtime in b.runtimes} == {"gguf", "mlx", "simulated"}
        copy = seen.model("pair@b")
        assert copy is not None
        assert seen.host_of(copy) == b
        assert seen.memory_of(copy).available == 8 * GB
        assert seen.memory.budget == own.memory.budget + 8 * GB

        await cluster.miss("b", HEARD)
        seen = await shows(face, lambda s: state(s) is HostState.STALE)
        assert seen.hosts[1].heard_at == HEARD
        await cluster.hear("b")
        seen = await shows(face, lambda s: state(s) is HostState.OK)
        assert seen.hosts[1].heard_at is None
        await cluster.lose("b")
        seen = await shows(face, lambda s: state(s) is HostState.LOST)
        assert seen.hosts[1].why == "its node is gone"
        assert seen.memory.budget == own.memory.budget + 4 * GB
        assert seen.hosts == engine.snapshot().hosts


def again(engine: Engine) -> EngineSnapshot:
    engine._board.changed()
    return engine.snapshot()


async def test_free_memory_that_hardly_moves_costs_no_line(tmp_path: Path) -> None:
    cluster = PaperCluster(tmp_path)
    async with cluster.engine() as engine:
        await cluster.join("b")
        cluster.free["b"] = 8 * GB
        first = again(engine)
        cluster.free["b"] -= 4 * GB // 200
        second = again(engine)
        assert (second.hosts, second.memory) == (first.hosts, first.memory)
        assert not {"set", "rows"} & set(change(first, second))
        cluster.free["b"] -= 4 * GB // 100
        third = again(engine)
        assert third.hosts[1].memory.available == cluster.free["b"]
        rows = change(second, third)["rows"]
        assert list(rows["hosts"]) == ["parts"]
        assert list(rows["hosts"]["parts"]["b"]) == ["memory"]
