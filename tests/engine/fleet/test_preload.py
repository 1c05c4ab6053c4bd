"""What the settings want loaded at the start, on hosts that join later."""

import time
from pathlib import Path

import pytest

from engine import Engine, LoadOptions, Readiness
from engine.home.intents import Intents
from engine.home.statefile import StateFile
from tests.engine.fleet.paper import ACTOR, PaperCluster, furnished, until, where

ROUTABLE = Readiness.ROUTABLE


@pytest.fixture
async def cluster(tmp_path: Path) -> PaperCluster:
    return furnished(tmp_path)


def loads(engine: Engine) -> list[str]:
    return [e.model_id for e in engine.events() if e.kind == "model_loading"]


async def test_preload_waits_for_the_hosts_in_the_order_of_the_settings(
    cluster: PaperCluster,
) -> None:
    wanted = ("unlike@c", "away", "many", "absent")
    model = {name: {"preload": True} for name in wanted}
    async with cluster.engine(model=model, deadlines={"preload_s": 60}) as engine:
        await until(engine, lambda: where(engine, ROUTABLE) == ["many"])
        await cluster.join("c")
        await until(engine, lambda: len(where(engine, ROUTABLE)) == 3)
        assert loads(engine) == ["many", "unlike@c", "away@c"]
        assert not [e for e in engine.events() if e.kind == "preload_skipped"]


async def test_preload_makes_up_replicas_and_minds_an_operator(cluster: PaperCluster) -> None:
    wanted = {"preload": True}
    model = {"many": wanted | {"replicas": 3}, "away": wanted, "unlike@c": wanted}
    async with cluster.engine(model=model, deadlines={"preload_s": 60}) as engine:
        await until(engine, lambda: where(engine, ROUTABLE) == ["many"])
        await cluster.join("b")
        await until(engine, lambda: len(where(engine, ROUTABLE)) == 3)
        await engine.unload("many@b", actor=ACTOR)
        await cluster.join("c")
        await until(engine, lambda: "unlike@c" in where(engine, ROUTABLE))
        assert where(engine, ROUTABLE) == ["away@b", "many", "unlike@c"]


async def test_what_took_the_machine_down_is_not_loaded_by_itself_for_want_of_a_copy(
    cluster: PaperCluster,
) -> None:
    cluster.settings.home.mkdir()
    before = StateFile(cluster.settings.home / "state.json", time.time)
    Intents(before, time.time, "an earlier boot").begin("many", None)
    model = {"many": {"preload": True, "replicas": 2}}
    async with cluster.engine(model=model, deadlines={"preload_s": 60}) as engine:
        await until(
            engine, lambda: bool([e for e in engine.events() if "not preloaded" in e.message])
        )
        await cluster.join("b", "c", memory_gb=2)  # the engine's own has most room
        await engine.load("many", LoadOptions(unattended=True), actor=ACTOR, wait=True)
        assert where(engine, ROUTABLE) == ["many@b", "many@c"]
        await engine._rooms.preload._load("many")
        assert loads(engine) == ["many@b", "many@c"]
        await engine.load("many", LoadOptions(replicas=3), actor=ACTOR, wait=True)
        assert len(where(engine, ROUTABLE)) == 3  # an operator may


async def test_preload_gives_up_at_its_deadline(cluster: PaperCluster) -> None:
    model = {name: {"preload": True} for name in ("away", "many", "gone")}
    async with cluster.engine(model=model, deadlines={"preload_s": 0.05}) as engine:
        await until(engine, lambda: sum(e.kind == "preload_skipped" for e in engine.events()) == 2)
        skipped = [e for e in engine.events() if e.kind == "preload_skipped"]
        assert [e.model_id for e in skipped] == ["away", "gone"]
        assert "no model of this name" in skipped[0].message
        await until(engine, lambda: where(engine, ROUTABLE) == ["many"])
