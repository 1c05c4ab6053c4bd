"""The prompt on demand: what the model would read, from a real worker, or a plain refusal."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from engine import ChatOptions, ChatTurn, Code, EngineError
from tests.end_to_end.conftest import ACTOR, Opener, until

Simulate = Callable[..., str]
TURNS = (ChatTurn("system", "Be brief."), ChatTurn("user", "Who is there?"))


async def test_the_prompt_is_the_template_s_and_asks_the_model_nothing(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("teller")
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    prompt = await engine.render(model, TURNS)
    assert prompt == "<system> Be brief.\n<user> Who is there?\n<assistant>"
    assert engine.snapshot().clients == ()
    assert engine.snapshot().requests == ()


async def test_it_is_rendered_beside_an_answer_that_is_being_written(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("busy", tokens_per_second=20)
    engine = await open_engine()
    await engine.load(model, actor=ACTOR, wait=True)
    stream = await engine.chat(model, TURNS, ChatOptions(max_tokens=500), client="c")
    await until(engine, lambda s: any(r.phase == "decode" for r in s.requests))
    assert "Who is there?" in await engine.render(model, TURNS)
    assert engine.snapshot().requests[0].phase == "decode"
    stream.cancel()


async def test_what_cannot_be_rendered_is_refused(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("resting")
    engine = await open_engine()
    for name, code in ((model, Code.MODEL_NOT_READY), ("nobody", Code.MODEL_NOT_FOUND)):
        with pytest.raises(EngineError) as refused:
            await engine.render(name, TURNS)
        assert refused.value.decision.code is code


async def test_a_silent_worker_has_a_deadline_and_a_dead_one_is_told(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("stopped")
    engine = await open_engine(deadlines={"template_s": 0.3, "heartbeat_s": 60})
    await engine.load(model, actor=ACTOR, wait=True)
    view = engine.snapshot().model(model)
    assert view is not None
    assert view.pid is not None
    os.kill(view.pid, signal.SIGSTOP)
    with pytest.raises(EngineError) as silent:
        await engine.render(model, TURNS)
    assert silent.value.decision.code is Code.DEADLINE_EXCEEDED
    asking = asyncio.ensure_future(engine.render(model, TURNS))
    await asyncio.sleep(0)
    os.kill(view.pid, signal.SIGKILL)
    with pytest.raises(EngineError) as dead:
        await asking
    assert dead.value.decision.code is Code.MODEL_UNSTABLE
    assert "SIGKILL" in dead.value.decision.message
