"""What a model's name means in a fleet: ids that do not depend on who joins first, and actions on
every copy or on one."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from engine import Code, EngineError, Explanation, LoadOptions, Readiness
from engine.lives.model import Model
from engine.trials.trial import Outcome, Trials
from tests.engine.fleet.paper import ACTOR, PaperCluster, furnished, until, view, where

ROUTABLE, UNLOADED, QUARANTINED = Readiness.ROUTABLE, Readiness.UNLOADED, Readiness.QUARANTINED


@pytest.fixture
async def cluster(tmp_path: Path) -> PaperCluster:
    cluster = furnished(tmp_path)
    cluster.put("own", "away@b")
    return cluster


async def test_names_do_not_depend_on_who_joins_first(cluster: PaperCluster) -> None:
    seen = []
    for order in permutations("bc"):
        cluster = PaperCluster(cluster.root)
        async with cluster.engine() as engine:
            await cluster.join(*order)
            seen.append({m.id: (m.host, m.family) for m in engine.snapshot().models})
    assert seen[0] == seen[1]
    own = seen[0].pop("many")[0]
    assert seen[0] == {
        "many@b": ("b", "many"),
        "many@c": ("c", "many"),
        "away@b": (own, "away@b"),
        "away@b@b": ("b", "away"),
        "away@c": ("c", "away"),
        "unlike@b": ("b", "unlike"),
        "unlike@c": ("c", "unlike@c"),
    }


async def test_settings_speak_of_a_model_wherever_it_is(cluster: PaperCluster) -> None:
    model = {"away": {"runtime": "nowhere", "keep_alive": 5, "sampling": {"temperature": 0.5}}}
    async with cluster.engine(model=model) as engine:
        await cluster.join("c")
        assert view(engine, "away@c").runtime == "nowhere"
        assert view(engine, "away@c").sampling == {"temperature": 0.5}


async def test_the_plain_id_means_every_copy_and_an_id_with_a_host_one(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        own = engine.snapshot().host
        every = ("many", "many@b", "many@c")
        assert await engine.load("many", LoadOptions(replicas=2), actor=ACTOR, wait=True)
        await engine.load("many", LoadOptions(replicas=3), actor=ACTOR, wait=True)
        assert await engine.canary("many", actor=ACTOR) == every
        assert await engine.unload("many@b", actor=ACTOR) == ("many@b",)
        assert where(engine, ROUTABLE) == ["many", "many@c"]
        assert await engine.canary("many", actor=ACTOR) == ("many", "many@c")
        assert await engine.unload(f"many@{own}", actor=ACTOR) == ("many",)
        # A console acts on the row it shows, by its version.
        row = view(engine, "many")
        assert await engine.hold("many", actor=ACTOR, expect=row.version) == ("many",)
        assert where(engine, QUARANTINED) == ["many"]
        assert await engine.hold("many", actor=ACTOR) == every
        assert where(engine, QUARANTINED) == list(every)
        with pytest.raises(EngineError) as refused:
            await engine.canary("many", actor=ACTOR)
        assert refused.value.decision.code is Code.MODEL_NOT_READY
        assert await engine.release("many@c", actor=ACTOR) == ("many@c",)
        await until(engine, lambda: where(engine, ROUTABLE) == ["many@c"])
        assert await engine.release("many", actor=ACTOR) == ("many", "many@b")
        await until(engine, lambda: where(engine, ROUTABLE) == list(every))
        with pytest.raises(EngineError, match="is not quarantined"):
            await engine.release("many", actor=ACTOR)


async def test_a_release_of_all_passes_over_a_copy_that_may_not_yet(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        await engine.load("away", LoadOptions(host="b"), actor=ACTOR, wait=True)
        cluster.placement.sick = True
        await engine.canary("away", actor=ACTOR)
        cluster.placement.sick = False
        await engine.hold("away", actor=ACTOR)
        assert where(engine, QUARANTINED) == ["away@b@b", "away@c"]
        assert await engine.release("away", actor=ACTOR) == ("away@c",)
        with pytest.raises(EngineError, match="may be released in"):
            await engine.release("away@b@b", actor=ACTOR)


async def test_a_hold_on_a_model_is_on_copies_still_to_come(cluster: PaperCluster) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b")
        await engine.hold("many", actor=ACTOR)
        await engine.hold("unlike@b", actor=ACTOR)
        await cluster.join("c")
        assert where(engine, QUARANTINED) == ["many", "many@b", "many@c", "unlike@b"]
        assert view(engine, "many@c").reason == f"held by {ACTOR}"
    cluster = PaperCluster(cluster.root)
    cluster.put("d", "many")
    async with cluster.engine() as engine:
        await cluster.join("c", "d")
        assert where(engine, QUARANTINED) == ["many", "many@c", "many@d"]
        # Once a copy is let go the others are held one by one, and a new one is not.
        await engine.release("many@d", actor=ACTOR)
        await cluster.join("b")
        cluster.put("e", "many")
        await cluster.join("e")
        assert "many@e" in where(engine, UNLOADED)
        assert {"many", "many@b", "many@c"} <= set(where(engine, QUARANTINED))


async def test_a_hold_is_on_a_host_that_nobody_knew_and_on_what_becomes_a_copy(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine() as engine:
        await engine.hold("many", actor=ACTOR)  # before any other host has joined
        await engine.release("many", actor=ACTOR)
        await engine.hold("many", actor=ACTOR)
        await cluster.join("b")
        assert where(engine, QUARANTINED) == ["many", "many@b"]
        cluster.put("c", "many", weights_gb=2)
        await cluster.join("c")
        assert view(engine, "many@c").readiness is UNLOADED
        cluster.put("c", "many")
        await engine.rescan()
        assert where(engine, QUARANTINED) == ["many", "many@b", "many@c"]


async def test_an_id_is_never_two_rows(cluster: PaperCluster) -> None:
    cluster.put("own", "away@c")
    (cluster.root / "own" / "away@c").rename(cluster.root / "later")
    async with cluster.engine() as engine:
        await cluster.join("c")
        (cluster.root / "later").rename(cluster.root / "own" / "away@c")
        await engine.rescan()
        own = engine.snapshot().host
        assert view(engine, f"away@c@{own}").host == own
        await engine.load("away@c", actor=ACTOR, wait=True)
        assert where(engine, ROUTABLE) == ["away@c"]
        assert await engine.unload("away@c", actor=ACTOR) == ("away@c",)


async def test_a_load_is_refused_only_where_every_copy_is(cluster: PaperCluster) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        seen = engine._rooms.gatehouse.examine

        async def examine(model: Model, options: LoadOptions, **more: Any) -> Explanation:
            found = await seen(model, options, **more)
            if model.id == "many" and not more:  # gone once it was chosen
                engine._rooms.services.quarantine.hold("many", actor=ACTOR)
            return found

        engine._rooms.gatehouse.examine = examine  # type: ignore[method-assign]
        two = LoadOptions(replicas=2)
        assert await engine.load("many", two, actor=ACTOR, wait=True) == ("many@b",)
        cluster.placement.sick = True
        with pytest.raises(EngineError) as refused:
            await engine.load("away", two, actor=ACTOR, wait=True)
        assert refused.value.decision.code is Code.MODEL_CANARY_FAILED


async def test_a_trial_is_of_one_copy(cluster: PaperCluster) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b")
        await engine.load("many", LoadOptions(replicas=2), actor=ACTOR, wait=True)
        before = view(engine, "many").canary, view(engine, "many@b").canary
        trial = await Trials(engine, engine.desk.archive(), actor=ACTOR).prove("many")
        assert (trial.model_id, trial.outcome) == ("many", Outcome.PASSED)
        assert view(engine, "many").canary is not before[0]
        assert view(engine, "many@b").canary is before[1]


async def test_a_hold_needs_no_host(cluster: PaperCluster) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        await cluster.lose("b")
        assert len(await engine.hold("away", actor=ACTOR)) == 2
        await cluster.join("b")
        assert set(where(engine, QUARANTINED)) == {"away@b@b", "away@c"}


async def test_a_copy_in_quarantine_keeps_no_request_from_loading_another(
    cluster: PaperCluster,
) -> None:
    async with cluster.engine() as engine:
        await cluster.join("b", "c")
        await engine.hold("away@b@b", actor=ACTOR)
        assert engine.resolve("away") == "away@c"
