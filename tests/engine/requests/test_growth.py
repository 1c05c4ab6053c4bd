"""What is kept of requests, clients and models stays bounded however long an engine serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine import ChatEnd, ChatTurn, Engine, EngineError, Readiness
from engine.home.statefile import StateFile
from engine.lives.model import TIMELINE
from engine.lives.performance import LATEST, Performance
from engine.requests.clients import KEPT, SHOWN, Clients
from engine.requests.suspects import Suspects
from tests.engine.private import private
from tests.engine.puppet import PuppetPlacement
from tests.forge import write_simulated

MODEL = "subject"
DEATHS = TIMELINE // 2
DONE = ChatEnd("stop", prompt_tokens=3, completion_tokens=4, ttft_ms=1.0, tokens_per_second=9.0)


def test_of_clients_those_that_asked_last_are_kept() -> None:
    clients = Clients(lambda: 0.0)
    for number in range(KEPT + 50):
        clients.ended("always here", DONE)
        clients.ended(f"client {number}", DONE)
    assert len(clients._views) == KEPT
    first, *others = clients.views()
    assert (first.name, len(others)) == (f"client {KEPT + 49}", SHOWN - 1)
    assert others[0].requests == KEPT + 50


def test_of_a_model_the_latest_times_are_kept_and_every_request_counted() -> None:
    performance = Performance(lambda: 0.0)
    for _ in range(LATEST + 50):
        performance.ended(MODEL, DONE)
    account = performance._of(MODEL)
    assert len(account.ttft_ms) == len(account.speeds) == LATEST
    assert performance.view(MODEL).requests == LATEST + 50


def test_of_suspects_the_latest_are_kept(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json", lambda: 0.0)
    suspects = Suspects(file, lambda: 0.0)
    for number in range(600):
        suspects.died(MODEL, {f"digest {number}": "client"})
    kept = file.state.suspicions
    assert len(kept) == 500
    assert kept[-1].digest == "digest 599"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Engine, PuppetPlacement]]:
    write_simulated(tmp_path / "models" / MODEL, weights_gb=1)
    placement = PuppetPlacement()
    engine = Engine(
        private(
            tmp_path,
            events_kept=50,
            quarantining={"strikes": 10_000, "backoff_s": (0.001,)},
        ),
        placement=placement,
    )
    await engine.start()
    yield engine, placement
    await engine.stop()


async def ask(engine: Engine, client: str, words: str) -> None:
    with suppress(EngineError):
        async for _ in await engine.chat(MODEL, (ChatTurn("user", words),), client=client):
            pass


async def test_nothing_is_left_of_requests_and_deaths(
    served: tuple[Engine, PuppetPlacement],
) -> None:
    engine, placement = served
    await engine.load(MODEL, actor="test", wait=True)
    for number in range(DEATHS):
        asking = [asyncio.create_task(ask(engine, f"{number} {i}", f"{number}")) for i in range(8)]
        await asyncio.sleep(0)
        if number % 2:
            await asyncio.gather(*asking)
        placement.alive[0].end(-11)
        await asyncio.gather(*asking)
        async with asyncio.timeout(10):
            while len(placement.workers) < number + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await engine.load(MODEL, actor="test", wait=True)
    view = engine.snapshot().model(MODEL)
    assert view is not None
    assert (view.readiness, view.requests) == (Readiness.ROUTABLE, 0)
    assert len(view.transitions) == TIMELINE
    assert len(engine.events()) == 50
    life = engine._lives[MODEL]
    traffic, worker = life.traffic, life.worker()
    left = (traffic._chats, traffic._digests, traffic._begun, traffic._queue, life.model._requests)
    assert [len(held) for held in (*left, worker._requests, worker._decoding)] == [0] * 7
    state = engine._rooms.state.state
    assert len(state.intents) == 1
    assert len(placement.alive) == 1
    [case] = state.cases
    assert len(case.evidence) <= 3
    # One reader, one watcher and the life itself for the one worker, whatever ended before it.
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert sum(name.startswith(("reader-", "watch-", "model-")) for name in names) == 3
