"""What is told of hosts reaches a console beside the engine and one elsewhere, and no more."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from engine import Engine, EngineFace, EngineSnapshot, HostState
from engine.delta import change
from engine.machine import processor
from tests.console.faces import attached
from tests.engine.fleet.neighbours import BUDGET, SOON_S, neighbourhood


def put(root: Path, host: str, name: str) -> None:
    folder = root / host / name
    folder.mkdir(parents=True)
    (folder / "simulated.json").write_text(json.dumps({"kind": "simulated", "weights_gb": 0.1}))


async def shows(face: EngineFace, holds: Callable[[EngineSnapshot], bool]) -> EngineSnapshot:
    async with asyncio.timeout(SOON_S):
        while not holds(face.snapshot()):  # noqa: ASYNC110 - the console polls it too
            await asyncio.sleep(0.02)
    return face.snapshot()


def states(snapshot: EngineSnapshot) -> dict[str, HostState]:
    return {host.name: host.state for host in snapshot.hosts if not host.own}


async def test_a_host_that_falls_silent_comes_back_and_is_lost_is_seen_by_every_console(
    tmp_path: Path,
) -> None:
    put(tmp_path, "own", "pair")
    put(tmp_path, "b", "pair")
    async with neighbourhood(tmp_path, "b", "c") as (engine, around):
        told = around.audience
        assert told is not None
        async with attached(engine, tmp_path / "attached") as face:
            here = engine.snapshot()
            seen = await shows(face, lambda s: len(s.hosts) == 3)
            assert seen.hosts == here.hosts
            own, b, _ = seen.hosts
            assert (own.own, own.devices, b.own, b.address) == (
                *(True, (processor(),), False, "127.0.0.1"),
            )
            assert {runtime.backend.value for runtime in b.runtimes} == {"gguf", "mlx", "simulated"}
            assert (b.memory.budget, b.memory.available, b.heard_at) == (BUDGET, BUDGET, None)
            copy = seen.model("pair@b")
            assert copy is not None
            assert seen.host_of(copy) == b
            assert seen.memory_of(copy).budget == BUDGET
            assert seen.memory.budget == own.memory.budget + 2 * BUDGET

            told.stale("b", 1_700_000_000.0)
            seen = await shows(face, lambda s: states(s)["b"] is HostState.STALE)
            assert seen.hosts[1].heard_at == 1_700_000_000.0
            told.heard("b")
            seen = await shows(face, lambda s: states(s)["b"] is HostState.OK)
            assert seen.hosts[1].heard_at is None
            told.lost("b", "its node is gone")
            seen = await shows(face, lambda s: states(s)["b"] is HostState.LOST)
            assert seen.hosts[1].why == "its node is gone"
            assert seen.memory.budget == own.memory.budget + BUDGET
            assert seen.hosts == engine.snapshot().hosts


def again(engine: Engine) -> EngineSnapshot:
    engine._board.changed()
    return engine.snapshot()


async def test_free_memory_that_hardly_moves_costs_no_line(tmp_path: Path) -> None:
    async with neighbourhood(tmp_path, "b") as (engine, around):
        first = again(engine)
        around.free["b"] -= BUDGET // 200
        second = again(engine)
        assert second.hosts == first.hosts
        assert second.memory == first.memory
        assert not {"set", "rows"} & set(change(first, second))
        around.free["b"] -= BUDGET // 100
        third = again(engine)
        assert third.hosts[1].memory.available == around.free["b"]
        rows = change(second, third)["rows"]
        assert list(rows["hosts"]["parts"]["b"]) == ["memory"]
        assert "new" not in rows["hosts"]
