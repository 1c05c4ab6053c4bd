"""What happens when two things happen at once: each found by interleaving, each once a fault."""

import asyncio
import os
import signal
from collections.abc import Callable

import psutil
import pytest

from engine import (
    ChatEnd,
    ChatOptions,
    ChatTurn,
    Code,
    Engine,
    EngineError,
    LoadOptions,
    ModelView,
    Readiness,
)
from engine.canary import Canary, Verdict
from engine.workers.protocol import MAX_FRAME
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness
from tests.process import workers_below

Simulate = Callable[..., str]
DEAF = [{"when": "idle", "after": 0, "do": "ignore_term"}]
HELLO = (ChatTurn("user", "hello"),)


def seen(engine: Engine, model_id: str) -> ModelView:
    view = engine.snapshot().model(model_id)
    assert view is not None
    return view


async def loaded(engine: Engine, model_id: str) -> psutil.Process:
    await engine.rescan()
    await engine.load(model_id, actor=ACTOR, wait=True)
    pid = seen(engine, model_id).pid
    assert pid is not None
    return psutil.Process(pid)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def nothing_is_left(engine: Engine, model_id: str) -> bool:
    view = seen(engine, model_id)
    reserved = engine.snapshot().memory.reserved
    return view.pid is None and not view.draining and view.requests == 0 and reserved == 0


async def test_two_unloads_of_a_deaf_worker_end_it_once(
    open_engine: Opener, simulate: Simulate
) -> None:
    engine = await open_engine()
    worker = await loaded(engine, simulate("deaf", faults=DEAF))
    await asyncio.gather(*(engine.unload("deaf", actor=ACTOR) for _ in range(3)))
    assert gone(worker)
    assert nothing_is_left(engine, "deaf")


async def test_an_unload_whose_caller_left_goes_on(open_engine: Opener, simulate: Simulate) -> None:
    engine = await open_engine()
    worker = await loaded(engine, simulate("busy", tokens_per_second=20))
    await engine.chat("busy", HELLO, ChatOptions(max_tokens=5000), client="never reads")
    unloading = asyncio.create_task(engine.unload("busy", actor=ACTOR))
    await until(engine, lambda _: seen(engine, "busy").draining)
    unloading.cancel()
    os.kill(worker.pid, signal.SIGKILL)
    await until_readiness(engine, "busy", Readiness.UNLOADED)
    assert nothing_is_left(engine, "busy")


async def test_an_unload_whose_cancellation_gets_lost_ends_all_the_same(
    open_engine: Opener, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Canary.run

    async def deaf(canary: Canary) -> Verdict:
        """As ``asyncio.wait_for`` before Python 3.12, when an answer and the cancellation meet."""
        running = asyncio.ensure_future(run(canary))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            return await running

    monkeypatch.setattr(Canary, "run", deaf)
    model = simulate("unheard")
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    await until_readiness(engine, model, Readiness.CANARY_PENDING)
    async with asyncio.timeout(20):
        await engine.unload(model, actor=ACTOR)
    assert nothing_is_left(engine, model)


async def test_an_unload_right_behind_a_load_gives_everything_back(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("brief")
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    await engine.unload(model, actor=ACTOR)
    assert seen(engine, model).readiness is Readiness.UNLOADED
    assert nothing_is_left(engine, model)


async def test_a_hold_during_an_admission_wins(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("held")
    engine = await open_engine()
    await asyncio.gather(engine.load(model, actor=ACTOR), engine.hold(model, actor=ACTOR))
    await until_readiness(engine, model, Readiness.QUARANTINED)
    assert nothing_is_left(engine, model)
    with pytest.raises(EngineError) as refused:
        await engine.load(model, actor=ACTOR)
    assert refused.value.decision.code is Code.MODEL_UNSTABLE


async def test_an_early_release_waits_for_the_life_before(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("again", faults=[{"when": "canary", "do": "nan", "times": 1}])
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    await until_readiness(engine, model, Readiness.QUARANTINED)
    await engine.release(model, actor=ACTOR, early=True)
    view = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert view.pid is not None
    assert engine.snapshot().memory.reserved > 0


async def test_a_chat_nobody_reads_is_accounted_for(
    open_engine: Opener, simulate: Simulate
) -> None:
    engine = await open_engine()
    await loaded(engine, simulate("unread"))
    await engine.chat("unread", HELLO, ChatOptions(max_tokens=3), client="never reads")
    await until(engine, lambda s: not s.requests)
    await engine.unload("unread", actor=ACTOR)
    assert nothing_is_left(engine, "unread")


@pytest.mark.parametrize(
    ("words", "options", "code"),
    [
        ("x" * (MAX_FRAME + 1), ChatOptions(), Code.PAYLOAD_TOO_LARGE),
        ("\ud800", ChatOptions(), Code.INVALID_REQUEST),
        ("hello", ChatOptions(temperature=9), Code.INVALID_REQUEST),
    ],
    ids=["too long", "no text", "too hot"],
)
async def test_a_request_that_cannot_be_sent_harms_nobody(
    words: str, options: ChatOptions, code: Code, open_engine: Opener, simulate: Simulate
) -> None:
    engine = await open_engine()
    await loaded(engine, simulate("calm"))
    with pytest.raises(EngineError) as refused:
        await engine.chat("calm", (ChatTurn("user", words),), options, client="odd")
    assert refused.value.decision.code is code
    assert refused.value.decision.param
    assert not engine.snapshot().requests


async def test_a_load_that_joins_a_restart_waits_for_it(
    open_engine: Opener, simulate: Simulate
) -> None:
    engine = await open_engine()
    worker = await loaded(engine, simulate("comes back"))
    worker.send_signal(signal.SIGSEGV)
    await until(engine, lambda _: seen(engine, "comes back").strikes == 1)
    await engine.load("comes back", actor=ACTOR, wait=True)
    assert seen(engine, "comes back").readiness is Readiness.ROUTABLE


async def test_loads_that_die_late_strike_out_all_the_same(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate(
        "late", load_seconds=1.0, faults=[{"when": "load", "after": 0.7, "do": "segv"}]
    )
    engine = await open_engine(quarantining={"window_s": 0.2, "backoff_s": (0.05,)})
    with pytest.raises(EngineError) as failed:
        await engine.load(model, actor=ACTOR, wait=True)
    assert failed.value.decision.code is Code.MODEL_UNSTABLE
    assert seen(engine, model).strikes == 3


async def test_a_canary_on_a_busy_model_is_no_hang(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("busy", tokens_per_second=10)
    engine = await open_engine(slots=1, deadlines={"canary_s": 2.0})
    await loaded(engine, model)
    stream = await engine.chat(model, HELLO, ChatOptions(max_tokens=40), client="long")
    await engine.canary(model, actor=ACTOR)
    assert seen(engine, model).readiness is Readiness.ROUTABLE
    ends = [item async for item in stream if isinstance(item, ChatEnd)]
    assert [end.reason for end in ends] == ["length"]


async def test_the_death_that_quarantines_promises_no_restart(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("last", faults=[{"when": "token", "after": 1, "do": "abort"}])
    engine = await open_engine(quarantining={"strikes": 1, "backoff_s": (0.05,)})
    await loaded(engine, model)
    stream = await engine.chat(model, HELLO, client="test", trusted=True)
    (end,) = [item async for item in stream if isinstance(item, ChatEnd)]
    assert end.decision is not None
    assert "quarantined" in end.decision.message
    assert not end.decision.retryable


@pytest.mark.parametrize("reserve", [-5.0, 0.0, float("nan"), float("inf")])
async def test_a_reservation_that_is_none_is_refused(
    reserve: float, open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("big", weights_gb=12)
    engine = await open_engine(memory_gb=8)
    with pytest.raises(EngineError) as refused:
        await engine.load(model, LoadOptions(reserve_gb=reserve), actor=ACTOR)
    assert refused.value.decision.code is Code.INVALID_REQUEST


async def test_stops_at_any_moment_leave_nothing(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("any", load_seconds=0.3)
    for patience in (0.0, 0.05, 0.3, 0.6):
        engine = await open_engine()
        loading = asyncio.create_task(engine.load(model, actor=ACTOR))
        await asyncio.sleep(patience)
        await asyncio.gather(engine.stop(), engine.stop())
        await asyncio.gather(loading, return_exceptions=True)
        assert not workers_below(psutil.Process())


@pytest.mark.parametrize("patience", [0.0, 0.02, 0.1, 0.5])
async def test_a_hold_beside_an_unload_leaves_it_held(
    patience: float, open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("both")
    engine = await open_engine()
    await engine.load(model, actor=ACTOR)
    await asyncio.sleep(patience)
    await asyncio.gather(engine.unload(model, actor=ACTOR), engine.hold(model, actor=ACTOR))
    assert seen(engine, model).readiness is Readiness.QUARANTINED
    assert "held" in seen(engine, model).reason
    assert nothing_is_left(engine, model)


async def test_two_canaries_that_fail_count_once(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("sick", faults=[{"when": "canary", "after": 9, "do": "nan"}])
    engine = await open_engine()
    await loaded(engine, model)
    await asyncio.gather(*(engine.canary(model, actor=ACTOR) for _ in range(2)))
    view = await until_readiness(engine, model, Readiness.QUARANTINED)
    assert view.pid is None or view.draining
    (sentence,) = engine.snapshot().quarantine
    assert sentence.cool_down_s == 30.0
