"""Reading ahead while the gate works: asked for in time, and nothing to a load that goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine import Code, Engine, EngineError, LoadOptions, Readiness
from engine.catalog.entry import CatalogEntry
from engine.catalog.readahead import Readahead
from engine.fleet.quarters import Known, OwnQuarters
from engine.memory import Memory
from tests.engine.private import private
from tests.engine.puppet import PuppetPlacement
from tests.forge import write_simulated

MODEL = "subject"
ROOM = 4_000_000_000


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    write_simulated(tmp_path / "models" / MODEL, weights_gb=1)
    settings = private(tmp_path, memory_gb=ROOM / 1e9)
    engine = Engine(settings, placement=PuppetPlacement(), machine=lambda: Memory(2 * ROOM, ROOM))
    await engine.start()
    yield engine
    await engine.stop()


def readiness(engine: Engine) -> Readiness:
    model = engine.snapshot().model(MODEL)
    assert model is not None
    return model.readiness


async def test_the_files_are_asked_for_while_the_gate_works(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    names: list[str] = []

    def ask(_: Readahead, paths: tuple[Path, ...]) -> None:
        names.extend(path.name for path in paths)
        asked.set()

    stamp = OwnQuarters.stamp

    async def last(quarters: OwnQuarters, entry: CatalogEntry) -> str:
        assert await asyncio.to_thread(asked.wait, 10)
        return await stamp(quarters, entry)

    monkeypatch.setattr(Readahead, "ask", ask)
    monkeypatch.setattr(OwnQuarters, "stamp", last)
    await engine.load(MODEL, actor="test", wait=True)
    assert names == ["simulated.json"]


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
async def test_no_trouble_with_it_holds_up_or_fails_a_load(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def warm(*_: object) -> None:
        begun.set()
        if trouble == "fails":
            raise OSError("the disk is gone")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(OwnQuarters, "warm", warm)
    await engine.load(MODEL, actor="test", wait=True)
    assert readiness(engine) is Readiness.ROUTABLE
    assert begun.is_set()
    assert cancelled.is_set() is (trouble == "hangs")


async def test_it_ends_with_a_refusal_and_is_not_begun_for_what_is_held(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    async def warm(*_: object) -> None:
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    monkeypatch.setattr(OwnQuarters, "warm", warm)
    with pytest.raises(EngineError) as refused:
        await engine.load(MODEL, LoadOptions(reserve_gb=100), actor="test")
    assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
    await asyncio.sleep(0)
    assert log == ["begun", "ended"]
    await engine.hold(MODEL, actor="test")
    with pytest.raises(EngineError):
        await engine.load(MODEL, actor="test")
    assert log == ["begun", "ended"]


@pytest.mark.parametrize(
    ("reserved", "available", "asks"), [(0, ROOM, 1), (ROOM, ROOM, 0), (0, 10_000_000, 0)]
)
async def test_what_has_no_room_is_not_read(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    reserved: int,
    available: int,
    asks: int,
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(Readahead, "ask", lambda *call: calls.append(call))
    quarters = engine._rooms.services.hosts.own.quarters
    known = Known(budget=ROOM, reserved=reserved, lost=0, available=available)
    entry = engine._rooms.services.board.models[MODEL].entry
    await quarters.warm(entry, LoadOptions(), known)
    assert len(calls) == asks
