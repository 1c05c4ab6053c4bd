"""A drain as an operator sees it: until when it waits, and that it ends."""

import asyncio
from collections.abc import Callable

from engine import ChatOptions, ChatTurn
from tests.end_to_end.conftest import ACTOR, Opener, until

Simulate = Callable[..., str]
TURNS = (ChatTurn("user", "Who is there?"),)


async def test_a_drain_says_when_it_cancels_what_is_left(
    open_engine: Opener, simulate: Simulate
) -> None:
    model = simulate("draining", tokens_per_second=20)
    engine = await open_engine(deadlines={"drain_s": 40})
    await engine.load(model, actor=ACTOR, wait=True)
    stream = await engine.chat(model, TURNS, ChatOptions(max_tokens=500), client="c")
    unloading = asyncio.ensure_future(engine.unload(model, actor=ACTOR))
    snapshot = await until(engine, lambda s: s.models[0].draining)
    until_when = snapshot.models[0].drain_until
    assert until_when is not None
    assert 30 < until_when - snapshot.taken_at <= 40
    stream.cancel()
    await unloading
    assert engine.snapshot().models[0].drain_until is None
