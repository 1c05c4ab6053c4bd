"""The way to a host, cut: the host is stale, then heard again, or given up. The agent is the real
one, beside the test; its workers are real processes."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine import ChatEnd, ChatOptions, ChatTurn, Code, Engine, Readiness
from engine.cluster import agent, link
from engine.cluster.agent import NodeAgent
from engine.cluster.distant import DistantPlacement
from engine.cluster.distant_quarters import DistantQuarters
from engine.fleet.member import Audience, Member
from engine.machine import Place
from engine.settings import Settings
from engine.types import Backend, HostState
from engine.workers.placement import Connection, Spawn
from tests.engine.fleet.paper import ACTOR, SOON_S, PaperCluster, until, view
from tests.process import ended

HOST = "far"
LISTEN_S, STALE_S, GIVEN_UP_S, TOKENS = 0.1, 1.2, 2.5, 100


class Thread:
    """A way to an agent that can be cut: what is asked or answered meanwhile waits."""

    def __init__(self, there: NodeAgent) -> None:
        self.whole = asyncio.Event()
        self.whole.set()
        self.ended = False
        self.agent = there

    async def ask(self, method: str, *arguments: Any) -> Any:
        await self.whole.wait()
        answer = await asyncio.shield(getattr(self.agent, method)(*arguments))
        await self.whole.wait()
        return answer

    def end(self) -> None:
        self.ended = True


class FarCluster(PaperCluster):
    """One host, reached over a thread."""

    def __init__(self, root: Path, deadline_s: float) -> None:
        super().__init__(root)
        self._deadline_s = deadline_s
        self.put(HOST, "m", tokens_per_second=100, say=[" word"])

    async def watch(self, audience: Audience) -> None:
        self.thread = Thread(NodeAgent(HOST, self._there(), silence_s=3600))
        report = await self.thread.ask("report")
        self.link = link.Link(
            HOST,
            self.thread,
            report.memory,
            deadline_s=self._deadline_s,
            on_stale=lambda heard_at: audience.stale(HOST, heard_at),
            on_heard=lambda: audience.heard(HOST),
            on_lost=lambda why: audience.lost(HOST, why),
        )
        member = Member(
            place=Place(HOST, "", away=True),
            address="127.0.0.1",
            devices=(),
            quarters=DistantQuarters(self.link, self._there(), report),
            placement=DistantPlacement(self.link),
            budget=report.budget,
            memory=lambda: self.link.memory,
        )
        await audience.joined(member)
        await asyncio.Event().wait()

    def _there(self) -> Settings:
        return self.settings.model_copy(update={"folders": (self.root / HOST,)})

    async def close(self) -> None:
        there = self.thread.agent
        for worker in tuple(there._workers.values()):
            worker.kill(9)
            await worker.wait()
        for task in tuple(there._tasks):
            task.cancel()
        await self.link.close()


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMX_HOME", str(tmp_path / "agents"))
    monkeypatch.setattr(agent, "LISTEN_S", LISTEN_S)
    monkeypatch.setattr(link, "STALE_S", STALE_S)
    monkeypatch.setattr(link, "_TICK_S", 0.05)
    return tmp_path


def state(engine: Engine) -> HostState:
    return engine.snapshot().hosts[-1].state


async def asked(engine: Engine) -> list[asyncio.Task[list[ChatEnd]]]:
    """A model loaded over there, and three answers on their way."""
    await until(engine, lambda: bool(engine.snapshot().models))
    await engine.load("m", actor=ACTOR, wait=True)

    async def ends() -> list[ChatEnd]:
        options = ChatOptions(max_tokens=TOKENS)
        stream = await engine.chat("m", (ChatTurn("user", "?"),), options, client="c")
        return [item async for item in stream if isinstance(item, ChatEnd)]

    tasks = [asyncio.create_task(ends()) for _ in range(3)]
    await until(engine, lambda: sum(r.generated > 5 for r in engine.snapshot().requests) == 3)
    return tasks


async def test_a_start_that_nobody_waits_for_leaves_no_worker(far: Path) -> None:
    cluster = FarCluster(far, deadline_s=60)
    async with cluster.engine() as engine:
        await until(engine, lambda: bool(engine.snapshot().models))
        there = cluster.thread.agent
        start, asked, answer = there._placement.start, asyncio.Event(), asyncio.Event()
        started: list[Connection] = []

        async def slowly(spawn: Spawn) -> Connection:
            asked.set()
            await answer.wait()
            started.append(await start(spawn))
            return started[0]

        there._placement.start = slowly  # type: ignore[method-assign]
        spawn = Spawn(Backend.SIMULATED, Path(sys.executable), "default")
        starting = asyncio.create_task(cluster.link.start(spawn))
        await asked.wait()
        starting.cancel()
        await asyncio.wait({starting})
        await until(engine, lambda: there._told > 0)
        answer.set()
        async with asyncio.timeout(SOON_S):
            while not (started and ended(started[0].pid)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not there._workers


async def test_a_short_cut_is_shown_and_costs_no_token(far: Path) -> None:
    cluster = FarCluster(far, deadline_s=60)
    async with cluster.engine() as engine:
        tasks = await asked(engine)
        cluster.thread.whole.clear()
        await until(engine, lambda: state(engine) is HostState.STALE)
        assert engine.snapshot().hosts[-1].heard_at is not None
        assert view(engine, f"m@{HOST}").requests == 3
        cluster.thread.whole.set()
        await until(engine, lambda: state(engine) is HostState.OK)
        for [end] in await asyncio.gather(*tasks):
            assert (end.reason, end.completion_tokens) == ("length", TOKENS)
        assert view(engine, f"m@{HOST}").readiness is Readiness.ROUTABLE


async def test_a_long_cut_ends_the_host_and_each_request_once_and_strikes_nobody(
    far: Path,
) -> None:
    cluster = FarCluster(far, deadline_s=GIVEN_UP_S)
    async with cluster.engine() as engine:
        tasks = await asked(engine)
        cluster.thread.whole.clear()
        await until(engine, lambda: state(engine) is HostState.STALE)
        await until(engine, lambda: state(engine) is HostState.LOST)
        for [end] in await asyncio.gather(*tasks):
            assert end.decision is not None
            assert end.decision.code is Code.MODEL_UNSTABLE
        await until(engine, lambda: view(engine, f"m@{HOST}").readiness is Readiness.UNLOADED)
        row = view(engine, f"m@{HOST}")
        assert row.strikes == 0
        assert row.evidence is not None
        assert row.evidence.cause == "host lost"
        assert "nothing heard of it" in row.reason
        assert cluster.thread.ended
        told = Counter(event.kind for event in engine.events())
        assert (told["host_stale"], told["host_lost"]) == (1, 1)
        # The row is written beside the life it tells of.
        recorded = ["environment", "canary"]
        await until(
            engine, lambda: [r.metadata["event"] for r in engine.snapshot().registry] == recorded
        )
        cluster.thread.whole.set()
