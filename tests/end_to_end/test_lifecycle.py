"""The whole way of a model through a real engine and a real worker process."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine import (
    ChatDelta,
    ChatEnd,
    ChatOptions,
    ChatTurn,
    Code,
    Engine,
    EngineError,
    LoadOptions,
    Readiness,
    StepResult,
)
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness

Simulate = Callable[..., str]
HELLO = (ChatTurn("user", "hello"),)


async def ask(
    engine: Engine, model_id: str, options: ChatOptions | None = None, words: str = "hello"
) -> tuple[str, ChatEnd]:
    text, end, turns = "", None, (ChatTurn("user", words),)
    async for item in await engine.chat(
        model_id, turns, options or ChatOptions(max_tokens=12), client="test"
    ):
        match item:
            case ChatDelta():
                text += item.text
            case ChatEnd():
                assert end is None, "an answer ends once"
                end = item
    assert end is not None
    return text, end


def rows_of(home: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((home / "compatibility-registry.json").read_text())
    return rows


async def test_a_model_walks_to_routable_and_leaves_a_pass_row(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("good", say=["It", " works", "."])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    view = engine.snapshot().model(model)
    assert view is not None
    assert view.readiness is Readiness.ROUTABLE
    assert [step.target for step in view.transitions] == [
        Readiness.ADMITTED,
        Readiness.LOADING,
        Readiness.CANARY_PENDING,
        Readiness.ROUTABLE,
    ]
    assert view.canary is not None
    assert view.canary.passed
    assert all(s.result in (StepResult.PASS, StepResult.WARN) for s in view.canary.steps)
    (row,) = rows_of(home)
    assert list(row) == [
        "ts",
        "model_id",
        "backend",
        "backend_version",
        "outcome",
        "reason",
        "metadata",
    ]
    assert (row["outcome"], row["backend"]) == ("pass", "simulated")


async def test_it_answers_with_figures_and_unloads_without_a_trace(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("good")
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    text, end = await ask(engine, model)
    assert text.startswith("It works.")
    assert end.reason == "length"
    assert end.completion_tokens == 12
    assert end.ttft_ms is not None
    assert end.tokens_per_second is not None
    view = engine.snapshot().model(model)
    assert view is not None
    assert view.pid is not None
    worker = psutil.Process(view.pid)
    await engine.unload(model, actor=ACTOR)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    after = engine.snapshot()
    unloaded = after.model(model)
    assert unloaded is not None
    assert unloaded.readiness is Readiness.UNLOADED
    assert after.memory.reserved == 0
    assert json.loads((home / "state.json").read_text())["intents"] in ({}, [])


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_a_death_under_a_stream_is_told_once_counted_and_healed(
    number: signal.Signals, open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("good", tokens_per_second=50)
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    ends: list[ChatEnd] = []
    stream = await engine.chat(model, HELLO, ChatOptions(max_tokens=500), client="victim")
    async for item in stream:
        view = engine.snapshot().model(model)
        assert view is not None
        if isinstance(item, ChatEnd):
            ends.append(item)
        elif view.pid is not None:
            os.kill(view.pid, number)
    (end,) = ends
    assert end.decision is not None
    assert end.decision.code is Code.MODEL_UNSTABLE
    assert number.name in end.decision.message
    await until(engine, lambda s: s.model(model).strikes == 1)  # type: ignore[union-attr]
    await until_readiness(engine, model, Readiness.ROUTABLE)
    healed = engine.snapshot().model(model)
    assert healed is not None
    assert healed.strikes == 1
    assert healed.evidence is not None
    assert healed.evidence.signal == number.name
    assert any("victim" in line for line in healed.evidence.requests)
    assert [r["metadata"]["event"] for r in rows_of(home)] == ["canary", "strike", "canary"]  # type: ignore[index]


async def test_three_deaths_quarantine_it_and_a_restart_remembers(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("dies", faults=[{"when": "token", "after": 1, "do": "segv"}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    for strike in (1, 2, 3):
        await until_readiness(engine, model, Readiness.ROUTABLE)
        _, end = await ask(engine, model, words=f"question {strike}")
        assert end.decision is not None
        await until(engine, lambda s, n=strike: s.model(model).strikes == n)  # type: ignore[misc]
    view = await until_readiness(engine, model, Readiness.QUARANTINED)
    assert view.pid is None
    with pytest.raises(EngineError) as refused:
        await ask(engine, model)
    assert refused.value.decision.code is Code.MODEL_UNSTABLE
    with pytest.raises(EngineError) as refused:
        await engine.load(model, actor=ACTOR)
    assert refused.value.decision.code is Code.MODEL_UNSTABLE
    await engine.stop()
    assert rows_of(home)[-1]["metadata"]["event"] == "quarantine"  # type: ignore[index]

    again = await open_engine()
    remembered = again.snapshot().model(model)
    assert remembered is not None
    assert remembered.readiness is Readiness.QUARANTINED
    (quarantined,) = again.snapshot().quarantine
    assert quarantined.model_id == model
    assert "SIGSEGV" in quarantined.reason
    assert quarantined.evidence


async def test_strikes_that_stand_are_shown_after_a_restart(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("shaky", faults=[{"when": "load", "do": "segv", "times": 2}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    view = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert view.strikes == 2
    await engine.stop()
    again = (await open_engine()).snapshot().model(model)
    assert again is not None
    assert (again.readiness, again.strikes) == (Readiness.UNLOADED, 2)
    assert again.evidence is not None
    assert again.evidence.signal == "SIGSEGV"


async def test_a_release_goes_through_the_canary_on_probation(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("mends", faults=[{"when": "canary", "do": "nan", "times": 1}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    view = await until_readiness(engine, model, Readiness.QUARANTINED)
    assert view.refusal is not None
    assert view.refusal.code is Code.MODEL_CANARY_FAILED
    with pytest.raises(EngineError) as early:
        await engine.release(model, actor=ACTOR)
    assert early.value.decision.code is Code.CONFLICT
    assert early.value.decision.retry_after_s
    await engine.release(model, actor=ACTOR, early=True)
    released = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert released.probation


async def test_a_failed_canary_unloads_quarantines_and_writes_the_fail_row(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("garbage", faults=[{"when": "canary", "do": "garbage"}])
    engine = await open_engine()
    with pytest.raises(EngineError) as failed:
        await engine.load(model, actor=ACTOR, wait=True)
    assert failed.value.decision.code is Code.MODEL_CANARY_FAILED
    view = await until_readiness(engine, model, Readiness.QUARANTINED)
    await until(engine, lambda s: s.model(model).pid is None)  # type: ignore[union-attr]
    assert "canary failed" in view.reason
    assert [r["outcome"] for r in rows_of(home)] == ["fail"]


async def test_out_of_memory_is_no_strike_and_no_restart(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("greedy", faults=[{"when": "token", "after": 1, "do": "oom"}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    await ask(engine, model)
    view = await until_readiness(engine, model, Readiness.UNLOADED)
    assert view.strikes == 0
    assert view.refusal is not None
    assert view.refusal.code is Code.INSUFFICIENT_MEMORY


async def test_a_cancelled_request_ends_and_frees_the_model(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("good", tokens_per_second=50)
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    stream = await engine.chat(model, HELLO, ChatOptions(max_tokens=500), client="test")
    seen: list[ChatDelta | ChatEnd] = []
    async for item in stream:
        seen.append(item)
        if len(seen) == 3:
            stream.cancel()
    assert isinstance(seen[-1], ChatEnd)
    assert seen[-1].reason == "cancelled"
    assert engine.snapshot().requests == ()


async def test_an_unload_lets_requests_finish_first(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("good", tokens_per_second=50)
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    asked = asyncio.create_task(ask(engine, model, ChatOptions(max_tokens=20)))
    await until(engine, lambda s: bool(s.requests))
    await engine.unload(model, actor=ACTOR)
    _, end = await asked
    assert end.reason == "length"
    assert end.completion_tokens == 20


async def test_an_action_decided_on_an_old_state_is_refused(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("good")
    engine = await open_engine()
    before = engine.snapshot().model(model)
    assert before is not None
    await engine.load(model, actor=ACTOR, wait=True)
    with pytest.raises(EngineError) as refused:
        await engine.unload(model, actor=ACTOR, expect=before.version)
    assert refused.value.decision.code is Code.CONFLICT


async def test_two_loads_cannot_both_take_the_last_gigabytes(
    open_engine: Opener, simulate: Simulate
) -> None:
    first, second = simulate("first", weights_gb=6), simulate("second", weights_gb=6)
    engine = await open_engine(memory_gb=8)
    answers = await asyncio.gather(
        engine.load(first, actor=ACTOR),
        engine.load(second, actor=ACTOR),
        return_exceptions=True,
    )
    refused = [a for a in answers if isinstance(a, EngineError)]
    assert len(refused) == 1
    assert refused[0].decision.code is Code.INSUFFICIENT_MEMORY


async def test_an_unknown_model_is_not_found(open_engine: Opener) -> None:
    engine = await open_engine()
    with pytest.raises(EngineError) as refused:
        await engine.load("nobody", LoadOptions(), actor=ACTOR)
    assert refused.value.decision.code is Code.MODEL_NOT_FOUND


async def test_a_stop_ends_every_worker_and_a_second_engine_may_begin(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("stubborn", faults=[{"when": "idle", "after": 0, "do": "ignore_term"}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    view = engine.snapshot().model(model)
    assert view is not None
    assert view.pid is not None
    worker = psutil.Process(view.pid)
    await engine.stop()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    again = await open_engine()
    assert again.snapshot().started


async def test_the_second_death_under_one_request_is_the_requests(
    open_engine: Opener, simulate: Simulate, home: Path
) -> None:
    model = simulate("innocent", faults=[{"when": "token", "after": 1, "do": "segv", "times": 2}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    for death in (1, 2):
        await until_readiness(engine, model, Readiness.ROUTABLE)
        _, end = await ask(engine, model)
        assert end.decision is not None
        await until(engine, lambda s, n=death: len(s.registry) == 2 * n)  # type: ignore[misc]
    view = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert view.strikes == 1, "the second death is charged to the request"
    with pytest.raises(EngineError) as refused:
        await ask(engine, model)
    assert refused.value.decision.code is Code.REQUEST_SUSPECT
    assert "test" in refused.value.decision.message
    other = await engine.chat(model, (ChatTurn("user", "something else"),), client="test")
    assert [item async for item in other][-1].reason == "length"  # type: ignore[union-attr]
    await engine.stop()

    again = await open_engine()
    await again.load(model, actor=ACTOR, wait=True)
    with pytest.raises(EngineError) as remembered:
        await ask(again, model)
    assert remembered.value.decision.code is Code.REQUEST_SUSPECT


async def test_a_request_cut_off_by_the_engines_end_is_told_so(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("slow", tokens_per_second=20)
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    asked = asyncio.create_task(ask(engine, model, ChatOptions(max_tokens=5000)))
    await until(engine, lambda s: bool(s.requests))
    await engine.stop()
    _, end = await asked
    assert end.reason == "cancelled" or (
        end.decision is not None and end.decision.code is Code.SHUTTING_DOWN
    )
    with pytest.raises(EngineError) as refused:
        await engine.load(model, actor=ACTOR)
    assert refused.value.decision.code is Code.SHUTTING_DOWN


async def test_auto_release_tries_once_at_the_end_of_a_cool_down(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("mends", faults=[{"when": "canary", "do": "nan", "times": 1}])
    rules = {"auto_release": True, "cool_down_s": 0.2, "backoff_s": (0.05,)}
    engine = await open_engine(quarantining=rules)
    await engine.load(model, actor=ACTOR)
    released = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert released.probation
    assert released.transitions[-4].actor == "auto_release"


async def test_memory_that_was_given_back_is_seen_at_once(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("wrong", faults=[{"when": "canary", "do": "nan"}])
    engine = await open_engine()
    budget = engine._rooms.services.hosts.own.budget
    loading = asyncio.create_task(engine.load(model, actor=ACTOR, wait=True))
    await until(engine, lambda snapshot: snapshot.memory.reserved > 0)
    while budget.reserved:
        engine.snapshot()  # a screen looks at any moment, the last one before it included
        await asyncio.sleep(0)
    assert engine.snapshot().memory.reserved == 0
    with pytest.raises(EngineError):
        await loading
