"""The ranks of one model on several hosts: only where an operator named the network for it."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from engine import Code, Engine, EngineError, LoadOptions, Readiness
from engine.catalog.entry import CatalogEntry
from engine.fleet.spread import Spread
from engine.ledger.archive import host_name
from engine.types import Backend
from engine.workers.placement import Post, Spawn, SpawnError
from engine.workers.ports import Held
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


async def test_a_host_that_had_parts_of_two_copies_is_lost_once(cluster: PaperCluster) -> None:
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", "c", memory_gb=12)
        here = LoadOptions(ranks=3, host=host_name())
        await engine.load("wide", here, actor=ACTOR, wait=True)
        await engine.load("wide@b", actor=ACTOR, wait=True)
        lost = cluster.placement.alive[2:]
        await cluster.lose("b")
        for worker in lost:
            worker.bereave("its node is gone")
        await until(engine, lambda: where(engine, Readiness.ROUTABLE) == ["wide@c"])
        # There is room for one of them; the other waits for a host, and for nobody's word.
        await until(engine, lambda: "2.0 GB short" in view(engine, "wide@b").reason)


async def test_another_content_or_class_holds_no_part(cluster: PaperCluster) -> None:
    cluster.put("c", "wide", weights_gb=6, say=["other"])
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", kind="other")
        await cluster.join("c")
        with pytest.raises(EngineError) as refused:
            await engine.load("wide", SPLIT, actor=ACTOR)
        assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
        assert not cluster.placement.alive


async def test_a_copy_that_is_held_holds_no_part(cluster: PaperCluster) -> None:
    async with cluster.engine(**ringed("b", "c")) as engine:
        await cluster.join("b", "c")
        await engine.hold("wide@b", actor=ACTOR)
        await engine.load("wide", SPLIT, actor=ACTOR, wait=True)
        assert reserved(engine) == {"own": 4, "b": 0, "c": 2}


async def test_nothing_begins_in_an_engine_that_ends_while_seats_are_sought(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine(**ringed("b")) as engine:
        await cluster.join("b")
        quarters = cluster.quarters["b"]
        asked, answer = asyncio.Event(), asyncio.Event()
        fingerprint = quarters.fingerprint

        async def slowly(entry: CatalogEntry) -> str:
            asked.set()
            await answer.wait()
            return await fingerprint(entry)

        quarters.fingerprint = slowly  # type: ignore[method-assign]
        load = asyncio.create_task(engine.load("wide", SPLIT, actor=ACTOR))
        await asked.wait()
        await engine.stop()
        answer.set()
        with pytest.raises(EngineError) as refused:
            await load
        assert refused.value.decision.code is Code.SHUTTING_DOWN
        assert not engine._lives


async def test_an_address_that_is_no_hosts_own_starts_nothing_and_keeps_no_port(
    cluster: PaperCluster,
) -> None:
    hosts = {host_name(): RING, "b": {"ring": "203.0.113.1"}}
    async with cluster.engine(hosts=hosts) as engine:
        await cluster.join("b")
        there = engine._rooms.services.hosts
        own = there.own.name
        posts = tuple(Post(name, Path("python"), "m", "s") for name in (own, own, "b"))
        spawn = Spawn(Backend.MLX, Path("python"), "default", 3, posts=posts)
        kept: list[Held] = []
        ports = there.own.quarters.ports

        async def noted(count: int, address: str) -> Held:
            kept.append(await ports(count, address))
            return kept[-1]

        there.own.quarters.ports = noted  # type: ignore[method-assign]
        with pytest.raises(SpawnError, match=r"no port of 203\.0\.113\.1"):
            await Spread(cluster.placement, there.named).start(spawn)
        assert not cluster.placement.workers
        [held] = kept
        assert len(held.addresses) == 2
        for address in held.addresses:  # free again: another may have it for itself
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
