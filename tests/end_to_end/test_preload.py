"""What the settings want loaded at the start: in order, one by one, and nothing that may not be."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Code, Engine, EngineError, LoadOptions, Readiness
from engine.home.intents import Intents
from engine.home.statefile import Hold, StateFile
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness

Simulate = Callable[..., str]


def preloading(*names: str) -> dict[str, dict[str, bool]]:
    return {name: {"preload": True} for name in names}


def told(engine: Engine, kind: str) -> list[tuple[str, str]]:
    return [(e.model_id, e.message) for e in engine.events() if e.kind == kind]


async def test_they_are_loaded_one_after_another_in_the_order_of_the_settings(
    open_engine: Opener, simulate: Simulate
) -> None:
    for name in ("a", "b", "c", "not wanted"):
        simulate(name, load_seconds=0.3)
    simulate("d")
    engine = await open_engine(model=preloading("c", "a", "d", "b"))
    assert engine.snapshot().started
    assert not any(m.readiness is Readiness.ROUTABLE for m in engine.snapshot().models)
    await until_readiness(engine, "b", Readiness.ROUTABLE)
    steps = [
        (e.model_id, e.kind) for e in engine.events() if e.kind in ("model_loading", "model_proved")
    ]
    assert steps == [
        (name, kind) for name in ("c", "a", "d", "b") for kind in ("model_loading", "model_proved")
    ]
    view = engine.snapshot().model("not wanted")
    assert view is not None
    assert view.readiness is Readiness.UNLOADED
    assert {e.actor for e in engine.events() if e.kind == "model_admitted"} == {"preload"}


async def test_what_may_not_be_loaded_by_itself_is_left_out_and_named(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    for name in ("held", "unclean", "last"):
        simulate(name)
    simulate("too large", weights_gb=50)
    home.mkdir()  # noqa: ASYNC240
    state = StateFile(home / "state.json", time.time)
    state.change(holds=(Hold(model_id="held", since=1.0, actor="me", reason="held by me"),))
    Intents(state, time.time, "an earlier boot").begin("unclean", None)
    names = ("held", "absent", "unclean", "too large", "last")
    engine = await open_engine(model=preloading(*names), memory_gb=1)
    await until_readiness(engine, "last", Readiness.ROUTABLE)
    skipped = dict(told(engine, "preload_skipped"))
    assert list(skipped) == ["held", "absent", "unclean"]
    assert "holds it" in skipped["held"]
    assert "no model of this name" in skipped["absent"]
    assert "machine went down" in skipped["unclean"]
    large = engine.snapshot().model("too large")
    assert large is not None
    assert large.refusal is not None
    assert large.refusal.code == "insufficient_memory"


async def test_what_took_the_machine_down_is_loaded_by_nobody_but_an_operator(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    simulate("unclean")
    home.mkdir()  # noqa: ASYNC240
    state = StateFile(home / "state.json", time.time)
    Intents(state, time.time, "an earlier boot").begin("unclean", None)
    engine = await open_engine()
    for_a_request = LoadOptions(unattended=True)
    with pytest.raises(EngineError, match="machine went down") as refused:
        await engine.load("unclean", for_a_request, actor="client@api", wait=True)
    decision = refused.value.decision
    assert (decision.code, decision.retryable) == (Code.MODEL_NOT_READY, False)
    await engine.load("unclean", actor=ACTOR, wait=True)
    await engine.unload("unclean", actor=ACTOR)
    await engine.load("unclean", for_a_request, actor="client@api", wait=True)


async def test_a_backend_that_struck_three_down_gets_no_fourth_by_itself(
    open_engine: Opener, simulate: Simulate
) -> None:
    fault = {"when": "load", "do": "segv"}
    bad = [simulate(f"bad {n}", faults=[fault], context=512 + n) for n in range(3)]
    simulate("good")
    engine = await open_engine(
        model=preloading(*bad, "good"),
        quarantining={"strikes": 1, "backoff_s": (0.05,)},
    )
    await until(engine, lambda _: bool(told(engine, "preload_skipped")))
    ((name, why),) = told(engine, "preload_skipped")
    assert name == "good"
    assert "suspect" in why
    view = engine.snapshot().model("good")
    assert view is not None
    assert view.readiness is Readiness.UNLOADED


async def test_an_engine_that_ends_meanwhile_loads_no_other(
    open_engine: Opener, simulate: Simulate
) -> None:
    simulate("slow", load_seconds=60)
    simulate("next")
    engine = await open_engine(model=preloading("slow", "next"))
    await until_readiness(engine, "slow", Readiness.LOADING)
    await engine.stop()
    assert told(engine, "preload_skipped") == told(engine, "load_refused") == []
    assert [m for m, _ in told(engine, "model_loading")] == ["slow"]
