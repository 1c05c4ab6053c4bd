"""More requests than a model can take: who waits, who is refused, who is told of a death."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from engine import ChatDelta, ChatEnd, ChatOptions, ChatTurn, Code, Engine, EngineError, Lane
from engine.face import ChatStream
from tests.end_to_end.conftest import ACTOR, Opener, until

Simulate = Callable[..., str]


async def submit(engine: Engine, model: str, client: str, **named: object) -> ChatStream:
    options = ChatOptions(max_tokens=int(str(named.pop("tokens", 20))), **named)  # type: ignore[arg-type]
    turns = (ChatTurn("user", f"hello from {client}"),)
    return await engine.chat(model, turns, options, client=client)


async def end_of(stream: ChatStream) -> ChatEnd:
    async for item in stream:
        if isinstance(item, ChatEnd):
            return item
    raise AssertionError("a stream ends with a ChatEnd")


async def test_who_waits_gets_his_turn_and_one_too_many_is_refused(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("busy", tokens_per_second=200)
    engine = await open_engine(slots=1, queue=3)
    await engine.load(model, actor=ACTOR, wait=True)
    streams = [await submit(engine, model, f"c{number}") for number in range(5)]
    with pytest.raises(EngineError) as refused:
        await submit(engine, model, "late")
    assert refused.value.decision.code is Code.QUEUE_FULL
    assert refused.value.decision.retry_after_s
    phases = [request.phase for request in engine.snapshot().requests]
    assert phases.count("queued") >= 3
    ends = await asyncio.gather(*map(end_of, streams))
    assert [end.reason for end in ends] == ["length"] * 5
    assert {view.name: view.requests for view in engine.snapshot().clients} == {
        f"c{number}": 1 for number in range(5)
    }


async def test_an_interactive_request_overtakes_those_that_wait(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("busy", tokens_per_second=300)
    engine = await open_engine(slots=1)
    await engine.load(model, actor=ACTOR, wait=True)
    order: list[str] = []

    async def run(name: str, lane: Lane) -> None:
        turns = (ChatTurn("user", name),)
        stream = await engine.chat(model, turns, ChatOptions(max_tokens=8), client=name, lane=lane)
        await end_of(stream)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(run(f"batch-{number}", Lane.THROUGHPUT))
        await asyncio.sleep(0)
        tasks.create_task(run("chat", Lane.INTERACTIVE))
    # Two are with the worker already: one in its slot, one ahead of it.
    assert order.index("chat") == 2


async def test_a_deadline_ends_a_request_wherever_it_is(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("slow", tokens_per_second=5)
    engine = await open_engine(slots=1)
    await engine.load(model, actor=ACTOR, wait=True)
    streams = [await submit(engine, model, f"c{n}", deadline_s=0.3, tokens=500) for n in range(3)]
    ends = await asyncio.gather(*map(end_of, streams))
    assert [end.decision.code for end in ends if end.decision] == [Code.DEADLINE_EXCEEDED] * 3
    await until(engine, lambda snapshot: not snapshot.requests)
    stream = await submit(engine, model, "next", tokens=1)
    assert (await end_of(stream)).reason == "length"


async def test_one_that_waits_is_cancelled_at_once(open_engine: Opener, simulate: Simulate) -> None:
    model = simulate("slow", tokens_per_second=5)
    engine = await open_engine(slots=1)
    await engine.load(model, actor=ACTOR, wait=True)
    streams = [await submit(engine, model, f"c{n}", tokens=500) for n in range(4)]
    await engine.cancel(streams[-1].request_id, actor=ACTOR)
    assert (await end_of(streams[-1])).reason == "cancelled"
    for stream in streams:
        stream.cancel()
    assert {(await end_of(stream)).reason for stream in streams[:-1]} == {"cancelled"}


async def test_a_death_tells_everybody_once_and_blames_only_who_was_there(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("frail", tokens_per_second=5)
    engine = await open_engine(slots=1)
    await engine.load(model, actor=ACTOR, wait=True)
    streams = [await submit(engine, model, f"c{n}", tokens=500) for n in range(5)]
    async for item in streams[0]:
        if isinstance(item, ChatDelta):
            break
    view = engine.snapshot().model(model)
    assert view is not None
    assert view.pid is not None
    os.kill(view.pid, signal.SIGKILL)
    ends = await asyncio.gather(*map(end_of, streams[1:]))
    messages = [end.decision.message for end in ends if end.decision]
    assert len(messages) == 4
    assert sum("while this request waited" in message for message in messages) == 3
    seen = await until(engine, lambda s: (m := s.model(model)) is not None and m.evidence)  # type: ignore[arg-type, return-value]
    model_view = seen.model(model)
    assert model_view is not None
    assert model_view.evidence is not None
    assert len(model_view.evidence.requests) == 2
    assert not seen.requests


async def test_aliases_and_providers_lead_to_a_routable_model(
    open_engine: Opener, simulate: Simulate
) -> None:
    first, second = simulate("first"), simulate("second")
    engine = await open_engine(model={first: {"alias": "fast"}, second: {"alias": ["fast", "b"]}})
    await engine.load(second, actor=ACTOR, wait=True)
    for name in ("fast", "b", "lmx/second", "openai/fast"):
        stream = await engine.chat(name, (ChatTurn("user", "x"),), client="test")
        assert stream.model_id == second
        stream.cancel()
    with pytest.raises(EngineError) as refused:
        engine.resolve("nobody")
    assert refused.value.decision.code is Code.MODEL_NOT_FOUND
