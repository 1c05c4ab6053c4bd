"""After an upgrade the models of the old version are proved again: in the background, stoppable,
where there is room, and never one that took the machine down."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Code, Engine, EngineError, Readiness
from engine.home.intents import Intents
from engine.home.statefile import StateFile
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness

Simulate = Callable[..., str]
NAMES = ("a", "b", "c")
Upgraded = Callable[..., Any]


@pytest.fixture
def upgraded(open_engine: Opener, simulate: Simulate) -> Upgraded:
    """Prove the models on version 1.0, then open an engine where version 2.0 is installed."""

    async def upgrade(scripts: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Engine:
        for number, name in enumerate(NAMES):
            simulate(name, backend_version="1.0", context=4096 + number)
        before = await open_engine()
        for name in NAMES:
            await before.load(name, actor=ACTOR, wait=True)
        await before.stop()
        for number, name in enumerate(NAMES):
            script = (scripts or {}).get(name, {})
            simulate(name, **({"backend_version": "2.0", "context": 4096 + number} | script))
        engine = await open_engine(**settings)
        await until(engine, lambda s: set(NAMES) >= set(s.outdated) != set())
        return engine

    return upgrade


def told(engine: Engine, kind: str) -> list[str]:
    return [event.message for event in engine.events() if event.kind == kind]


def readiness(engine: Engine) -> dict[str, Readiness]:
    return {model.id: model.readiness for model in engine.snapshot().models}


async def test_all_are_proved_and_unloaded_and_the_offer_is_gone(upgraded: Upgraded) -> None:
    engine = await upgraded()
    await engine.prove_outdated(NAMES, actor=ACTOR)
    assert engine.snapshot().proving == NAMES
    with pytest.raises(EngineError) as twice:
        await engine.prove_outdated(NAMES, actor=ACTOR)
    assert twice.value.decision.code is Code.CONFLICT
    await until(engine, lambda s: not s.proving and not s.outdated)
    assert told(engine, "retrial_ended") == ["proved again: 3 passed"]
    advanced = told(engine, "retrial_advanced")
    assert [text.partition(",")[0] for text in advanced] == [
        f"proved again {n} of 3: passed" for n in (1, 2, 3)
    ]
    assert set(readiness(engine).values()) == {Readiness.UNLOADED}
    with pytest.raises(EngineError, match="nothing to prove"):
        await engine.prove_outdated(NAMES, actor=ACTOR)


async def test_what_is_in_service_stays_and_a_failure_is_one_models_own(
    upgraded: Upgraded,
) -> None:
    engine = await upgraded({"b": {"faults": [{"when": "canary", "after": 0, "do": "nan"}]}})
    await engine.load("a", actor=ACTOR, wait=True)
    await until(engine, lambda s: s.outdated == ("b", "c"))
    await engine.prove_outdated(("b", "c"), actor=ACTOR)
    await until(engine, lambda s: not s.proving)
    assert told(engine, "retrial_ended") == ["proved again: 1 passed, 1 failed"]
    assert readiness(engine) == {
        "a": Readiness.ROUTABLE,
        "b": Readiness.QUARANTINED,
        "c": Readiness.UNLOADED,
    }


async def test_a_stop_unloads_the_model_under_trial_and_leaves_the_rest(
    upgraded: Upgraded,
) -> None:
    engine = await upgraded({"a": {"load_seconds": 60}})
    await engine.prove_outdated(NAMES, actor=ACTOR)
    await until_readiness(engine, "a", Readiness.LOADING)
    await engine.stop_proving(actor=ACTOR)
    assert not engine.snapshot().proving
    assert set(readiness(engine).values()) == {Readiness.UNLOADED}
    assert told(engine, "retrial_ended") == told(engine, "retrial_advanced") == []
    assert engine.snapshot().memory.reserved == 0
    await engine.stop_proving(actor=ACTOR)
    await engine.prove_outdated(("c",), actor=ACTOR)
    await until(engine, lambda s: not s.proving)
    assert told(engine, "retrial_ended") == ["proved again: 1 passed"]


async def test_no_room_is_no_failure_and_is_said(upgraded: Upgraded) -> None:
    engine = await upgraded({"b": {"weights_gb": 50}}, memory_gb=1)
    await engine.prove_outdated(NAMES, actor=ACTOR)
    await until(engine, lambda s: not s.proving)
    (end,) = told(engine, "retrial_ended")
    assert end == "proved again: 2 passed, 1 not tried, no room for b"
    assert len([text for text in told(engine, "retrial_advanced") if "not tried" in text]) == 2
    assert readiness(engine)["b"] is Readiness.UNLOADED


async def test_a_model_somebody_asks_for_meanwhile_stays(upgraded: Upgraded) -> None:
    engine = await upgraded({"a": {"load_seconds": 1}})
    await engine.prove_outdated(("a",), actor=ACTOR)
    await until_readiness(engine, "a", Readiness.LOADING)
    await engine.load("a", actor="a client", wait=True)
    await until(engine, lambda s: not s.proving)
    assert readiness(engine)["a"] is Readiness.ROUTABLE


async def test_what_took_the_machine_down_is_left_out(
    upgraded: Upgraded, open_engine: Opener, home: Path
) -> None:
    engine = await upgraded()
    await engine.stop()
    seen = engine.events()[-1].seq
    state = StateFile(home / "state.json", time.time)
    Intents(state, time.time, "an earlier boot").begin("a", None)
    again = await open_engine()
    await until(again, lambda s: s.outdated == NAMES)
    await again.prove_outdated(NAMES, actor=ACTOR)
    await until(again, lambda s: not s.proving)
    (end,) = told(again, "retrial_ended")
    assert end == "proved again: 2 passed, 1 not tried"
    loaded = {event.model_id for event in again.events(seen) if event.kind == "model_loading"}
    assert loaded == {"b", "c"}


async def test_an_engine_that_ends_meanwhile_ends_it_too(upgraded: Upgraded) -> None:
    engine = await upgraded({"a": {"load_seconds": 60}})
    seen = engine.events()[-1].seq
    await engine.prove_outdated(NAMES, actor=ACTOR)
    await until_readiness(engine, "a", Readiness.LOADING)
    await engine.stop()
    loaded = {event.model_id for event in engine.events(seen) if event.kind == "model_loading"}
    assert loaded == {"a"}
