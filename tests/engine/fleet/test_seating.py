"""The ranks of one model on several hosts: only where an operator named the network for it."""

from pathlib import Path
from typing import Any

import pytest

from engine import Code, Engine, EngineError, LoadOptions, Readiness
from engine.ledger.archive import host_name
from tests.engine.fleet.paper import ACTOR, GB, PaperCluster, until, view, where

RING = {"ring": "127.0.0.1"}
SPLIT = LoadOptions(ranks=3)


@pytest.fixture
async def cluster(tmp_path: Path) -> PaperCluster:
    """Six gigabytes in three parts; every host has room for four."""
    cluster = PaperCluster(tmp_path)
    for host in ("own", "b", "c"):
        cluster.put(host, "wide", weights_gb=6)
    return cluster


def ringed(*names: str) -> dict[str, Any]:
    return {"hosts": dict.fromkeys((host_name(), *names), RING)}


def reserved(engine: Engine) -> dict[str, float]:
    return {h.name: h.memory.reserved / GB for h in engine.snapshot().hosts if not h.own} | {
        "own": engine.snapshot().hosts[0].memory.reserved / GB
    }


async def test_without_a_named_network_all_ranks_stay_on_one_host_and_the_refusal_says_why(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        with pytest.raises(EngineError) as refused:
            await engine.load("wide", SPLIT, actor=ACTOR)
        decision = refused.value.decision
        assert decision.code is Code.INSUFFICIENT_MEMORY
        assert "[hosts.NAME] ring" in decision.remedy
        assert "no password" in decision.remedy
        with pytest.raises(EngineError) as plain:
            await engine.load("wide", LoadOptions(ranks=1), actor=ACTOR)
        assert "password" not in plain.value.decision.remedy


async def test_ranks_go_where_there_is_room_and_each_host_promises_its_part(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", "c")
        assert await engine.load("wide", SPLIT, actor=ACTOR, wait=True) == ("wide",)
        own = view(engine, "wide").host
        [admitted] = [e for e in engine.events() if e.kind == "model_admitted"]
        assert admitted.message.endswith(f"split among 3 processes: 2 on {own}, 1 on b")
        assert reserved(engine) == {"own": 4, "b": 2, "c": 0}
        assert len(cluster.placement.alive) == 3
        await engine.unload("wide", actor=ACTOR)
        assert reserved(engine) == {"own": 0, "b": 0, "c": 0}
        # What fits on one host stays on it.
        await engine.load("wide", LoadOptions(ranks=3, reserve_gb=3), actor=ACTOR, wait=True)
        assert reserved(engine) == {"own": 3, "b": 0, "c": 0}


async def test_a_host_lost_takes_the_whole_model_which_goes_on_elsewhere(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", "c")
        await engine.load("wide", SPLIT, actor=ACTOR, wait=True)
        before = cluster.placement.alive
        await cluster.lose("b")
        before[2].bereave("its node is gone")
        await until(engine, lambda: reserved(engine) == {"own": 4, "b": 0, "c": 2})
        await until(engine, lambda: where(engine, Readiness.ROUTABLE) == ["wide"])
        assert not any(worker.alive for worker in before)


async def test_another_content_or_class_holds_no_part(cluster: PaperCluster) -> None:
    cluster.put("c", "wide", weights_gb=6, say=["other"])
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", kind="other")
        await cluster.join("c")
        with pytest.raises(EngineError) as refused:
            await engine.load("wide", SPLIT, actor=ACTOR)
        assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
        assert not cluster.placement.alive
