"""An engine over a real Ray cluster: placement, deaths of workers, agents and nodes, replicas."""

import asyncio
import os
import shutil
import signal
from collections import Counter

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
    ModelView,
    Readiness,
)
from engine.catalog.starter import starter_file
from tests.end_to_end import damage
from tests.engine.cluster.conftest import Rack, states, until, view

pytestmark = pytest.mark.xdist_group("ray")
ACTOR = "operator@test"
ASK = (ChatTurn("user", "?"),)
PROMPT = "The capital of France is"


def kinds(engine: Engine) -> Counter[str]:
    return Counter(event.kind for event in engine.events())


async def answer(engine: Engine, model: str, tokens: int = 512) -> ChatEnd:
    """Ask through the name, as the API does, and return the one end."""
    options = ChatOptions(max_tokens=tokens)
    stream = await engine.chat(engine.resolve(model), ASK, options, client="c")
    items = [item async for item in stream]
    ends = [item for item in items if isinstance(item, ChatEnd)]
    assert len(ends) == 1
    return ends[0]


async def test_a_load_takes_the_host_with_files_and_room_and_says_why(rack: Rack) -> None:
    rack.put("own", "big", weights_gb=1.9)
    rack.put("b", "big", weights_gb=1.9)
    rack.put("own", "small", weights_gb=0.5)
    async with rack.engine() as engine:
        assert view(engine, "big").host != "b"
        assert view(engine, "big@b").host == "b"
        await engine.load("small", actor=ACTOR, wait=True)
        await engine.load("big", actor=ACTOR, wait=True)
        assert view(engine, "big@b").readiness is Readiness.ROUTABLE
        assert view(engine, "big").readiness is Readiness.UNLOADED
        [placed] = [e for e in engine.events() if e.kind == "model_placed"]
        assert placed.message.startswith("on b: has the files and ")
        hosts = {host.name: host for host in engine.snapshot().hosts}
        assert hosts["b"].memory.reserved == 1.9e9
        assert (await answer(engine, "big")).reason == "length"
        row = engine.snapshot().registry[0]
        assert (row.model_id, row.metadata["host"]) == ("big@b", "b")
        with pytest.raises(EngineError) as refused:
            await engine.load("big", LoadOptions(host="c"), actor=ACTOR)
        assert refused.value.decision.code is Code.INVALID_REQUEST
        await engine.unload("big", actor=ACTOR)
        assert view(engine, "big@b").readiness is Readiness.UNLOADED


async def test_replicas_share_fifty_streams_and_lose_nothing(rack: Rack) -> None:
    for host in ("own", "b", "c"):
        rack.put(host, "many", weights_gb=0.5)
    async with rack.engine(model={"many": {"replicas": 3}}, slots=8) as engine:
        await engine.load("many", actor=ACTOR, wait=True)
        ids = ("many", "many@b", "many@c")
        assert all(view(engine, each).readiness is Readiness.ROUTABLE for each in ids)
        assert all(canary.passed for each in ids if (canary := view(engine, each).canary))
        ends = await asyncio.gather(*(answer(engine, "many", 150) for _ in range(50)))
        assert {end.reason for end in ends} == {"length"}
        assert {end.completion_tokens for end in ends} == {150}
        served = [engine.desk.performance(each).requests for each in ids]
        assert sum(served) == 50
        assert min(served) >= 10


async def test_a_worker_killed_on_another_host_is_a_strike_and_restarts_there(rack: Rack) -> None:
    rack.put("b", "lone")
    async with rack.engine() as engine:
        await engine.load("lone", actor=ACTOR, wait=True)
        pid = view(engine, "lone@b").pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        await until(engine, lambda: view(engine, "lone@b").strikes == 1)
        await until(engine, lambda: view(engine, "lone@b").readiness is Readiness.ROUTABLE)
        evidence = view(engine, "lone@b").evidence
        assert evidence is not None
        assert evidence.signal == "SIGSEGV"
        assert "Fatal Python error" in evidence.stderr_tail
        assert states(engine) == {"b": "ok", "c": "ok"}


async def test_a_host_lost_and_back(rack: Rack) -> None:
    """Removed under load: one event, every request ends once, no strike, the model goes on."""
    rack.put("b", "pair", tokens_per_second=10)
    rack.put("c", "pair", tokens_per_second=10)
    rack.put("b", "only", weights_gb=0.5)
    async with rack.engine() as engine:
        await engine.load("pair", LoadOptions(host="b"), actor=ACTOR, wait=True)
        await engine.load("only", actor=ACTOR, wait=True)
        asked = [asyncio.create_task(answer(engine, "pair")) for _ in range(3)]
        await until(engine, lambda: view(engine, "pair@b").requests == 3)
        rack.remove("b")
        ends = await asyncio.gather(*asked)
        assert {end.decision.code for end in ends if end.decision} == {Code.MODEL_UNSTABLE}
        assert len([end for end in ends if end.decision]) == 3
        await until(engine, lambda: view(engine, "pair@c").readiness is Readiness.ROUTABLE)
        await until(engine, lambda: "no other host" in view(engine, "only@b").reason)
        assert kinds(engine)["host_lost"] == 1
        assert states(engine)["b"] == "lost"
        assert view(engine, "pair@b").readiness is Readiness.UNLOADED
        assert view(engine, "pair@b").strikes == 0
        rack.add("b")
        await until(engine, lambda: view(engine, "only@b").readiness is Readiness.ROUTABLE)
        assert states(engine) == {"b": "ok", "c": "ok"}


async def test_an_agent_killed_takes_its_workers_and_is_started_anew(rack: Rack) -> None:
    rack.put("c", "tended")
    async with rack.engine() as engine:
        await engine.load("tended", actor=ACTOR, wait=True)
        worker = view(engine, "tended@c").pid
        assert worker is not None
        process = psutil.Process(worker)
        os.kill(process.ppid(), signal.SIGKILL)
        await until(engine, lambda: kinds(engine)["host_lost"] == 1)
        await until(engine, lambda: not process.is_running())
        await until(engine, lambda: view(engine, "tended@c").readiness is Readiness.ROUTABLE)
        assert view(engine, "tended@c").strikes == 0
        assert states(engine) == {"b": "ok", "c": "ok"}


async def test_an_agent_that_falls_silent_is_stale_and_given_up_at_the_deadline(
    rack: Rack,
) -> None:
    rack.put("c", "silent", tokens_per_second=20)
    async with rack.engine(deadlines={"host_s": 4}) as engine:
        await engine.load("silent", actor=ACTOR, wait=True)
        worker = view(engine, "silent@c").pid
        assert worker is not None
        agent = psutil.Process(psutil.Process(worker).ppid())
        asked = [asyncio.create_task(answer(engine, "silent")) for _ in range(3)]
        await until(engine, lambda: view(engine, "silent@c").requests == 3)
        agent.suspend()
        await until(engine, lambda: kinds(engine)["host_stale"] == 1)
        assert states(engine)["b"] == "ok"
        ends = await asyncio.gather(*asked)
        assert [end.decision and end.decision.code for end in ends] == [Code.MODEL_UNSTABLE] * 3
        assert kinds(engine)["host_stale"] == kinds(engine)["host_lost"] == 1
        assert view(engine, "silent@c").strikes == 0
        agent.resume()  # it is told to end, and with it its worker does
        await until(engine, lambda: states(engine) == {"b": "ok", "c": "ok"})
        await until(engine, lambda: view(engine, "silent@c").readiness is Readiness.ROUTABLE)
        await until(engine, lambda: not psutil.pid_exists(worker))


async def test_a_real_model_answers_from_another_host(rack: Rack) -> None:
    """The bundled starter, in llama.cpp, over the relay."""
    source = starter_file()
    assert source is not None
    place = rack.root / "b" / "starter"
    place.mkdir(parents=True)
    shutil.copy(source, place / source.name)
    async with rack.engine(slots=1, context=512) as engine:
        name = source.stem
        await engine.load(name, actor=ACTOR, wait=True)
        proved = view(engine, f"{name}@b")
        assert proved.canary is not None
        assert proved.canary.passed
        assert proved.backend_version.startswith("llama")
        options = ChatOptions(temperature=0, max_tokens=12)
        stream = await engine.chat(name, (), options, prompt=PROMPT, client="c")
        items = [item async for item in stream]
        text = "".join(item.text for item in items if isinstance(item, ChatDelta))
        assert "Paris" in text
        assert len(items) > 3  # as it comes, not in one piece
        assert isinstance(items[-1], ChatEnd)
        assert items[-1].decision is None


async def test_a_model_split_over_two_hosts_computes_and_dies_as_one(rack: Rack) -> None:
    """The starter's first two layers in three parts, two on one node and one on the other."""
    starter = damage.build_mlx(rack.root / "starter")
    for host in ("b", "c"):
        folder = rack.root / host / "cut"
        damage.write_safetensors(
            folder / "model.safetensors", damage.copy_mlx(starter, folder, layers=2)
        )
    async with rack.engine(
        hosts=rack.hosts(b=0.9, c=0.6),
        slots=1,
        context=256,
        canary={"perplexity_max": 1e12, "decode_tokens": 4},  # two layers of thirty know no English
        quarantining={"strikes": 1},
    ) as engine:
        wanted = LoadOptions(ranks=3, reserve_gb=1.2)
        await engine.load("cut", wanted, actor=ACTOR, wait=True)
        hosts = {host.name: host.memory.reserved / 1e9 for host in engine.snapshot().hosts}
        assert (hosts["b"], hosts["c"]) == (0.8, 0.4)
        proved = view(engine, "cut@b")
        assert proved.canary is not None
        assert (proved.ranks, proved.canary.passed) == (3, True)
        ranks = ranks_of(proved)
        agents = [ranks[rank].ppid() for rank in (0, 1, 2)]
        assert agents[0] == agents[1] != agents[2]
        options = ChatOptions(temperature=0, max_tokens=200)
        ends = []
        async for item in await engine.chat("cut", ASK, options, client="c"):
            if isinstance(item, ChatEnd):
                ends.append(item)
            elif ranks[2].is_running():
                ranks[2].kill()
        assert [end.decision and end.decision.code for end in ends] == [Code.MODEL_UNSTABLE]
        await until(engine, lambda: view(engine, "cut@b").readiness is Readiness.QUARANTINED)
        evidence = view(engine, "cut@b").evidence
        assert evidence is not None
        assert evidence.cause == "SIGKILL in rank 2 of 3 on c"
        await until(engine, lambda: not any(rank.is_running() for rank in ranks.values()))
        hosts = {host.name: host.memory.reserved for host in engine.snapshot().hosts}
        assert (hosts["b"], hosts["c"]) == (0, 0)


def ranks_of(model: ModelView) -> dict[int, psutil.Process]:
    """The processes that hold a model, by rank: they are told the same addresses."""

    def told(line: list[str], option: str) -> str:
        return line[line.index(option) + 1]

    ring = told(psutil.Process(model.pid).cmdline(), "--ring")
    every = psutil.process_iter(["cmdline"])
    held = [process for process in every if ring in (process.info["cmdline"] or ())]
    return {int(told(process.info["cmdline"], "--rank")): process for process in held}
