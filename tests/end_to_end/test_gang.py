"""A model held by several processes, through the engine: one model to everybody who asks."""

import os
import signal
from collections.abc import Callable

import pytest

from engine import Code, EngineError, LoadOptions, Readiness
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness
from tests.end_to_end.ranks import ends_of, ranks


async def test_the_settings_split_a_model_and_one_ranks_death_is_its_own(
    open_engine: Opener, simulate: Callable[..., str]
) -> None:
    model = simulate("wide", tokens_per_second=40)
    engine = await open_engine(model={model: {"ranks": 3}})
    await engine.load(model, actor=ACTOR, wait=True)
    first = ranks()
    view = engine.snapshot().model(model)
    assert view is not None
    assert sorted(first) == [0, 1, 2]
    assert (view.ranks, view.pid) == (3, first[0].pid)
    assert view.canary is not None
    assert view.canary.passed
    [end] = await ends_of(engine, model, lambda: os.kill(first[1].pid, signal.SIGKILL))
    assert end.decision is not None
    assert end.decision.code is Code.MODEL_UNSTABLE
    assert "SIGKILL in rank 1 of 3" in end.decision.message
    struck = await until(engine, lambda s: s.model(model).strikes == 1)  # type: ignore[union-attr]
    after = struck.model(model)
    assert after is not None
    assert after.evidence is not None
    assert after.evidence.cause == "SIGKILL in rank 1 of 3"
    healed = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert healed.canary is not None
    assert healed.canary.run_id != view.canary.run_id
    second = ranks()
    assert sorted(second) == [0, 1, 2]
    assert {p.pid for p in first.values()}.isdisjoint(p.pid for p in second.values())
    await engine.unload(model, actor=ACTOR)
    assert not ranks()
    gone = engine.snapshot().model(model)
    assert gone is not None
    assert gone.ranks == 1


async def test_a_load_may_ask_for_ranks_and_no_load_for_none(
    open_engine: Opener, simulate: Callable[..., str]
) -> None:
    model = simulate("wide")
    engine = await open_engine()
    for wrong in (0, -1):
        with pytest.raises(EngineError) as refused:
            await engine.load(model, LoadOptions(ranks=wrong), actor=ACTOR)
        assert refused.value.decision.param == "ranks"
    await engine.load(model, LoadOptions(ranks=2), actor=ACTOR, wait=True)
    assert sorted(ranks()) == [0, 1]
