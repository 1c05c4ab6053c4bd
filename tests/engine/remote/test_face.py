"""What an attached console asks of an engine, over a real API in front of a real one."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from engine import (
    Backend,
    ChatDelta,
    ChatEnd,
    ChatOptions,
    ChatTurn,
    Code,
    EngineError,
    FaceMismatch,
    LoadOptions,
    Readiness,
)
from engine.delta import PROTOCOL
from engine.http.admin_schemas import LoadRequest
from engine.http.watch import follow
from engine.remote.face import RemoteEngine, told_of
from engine.remote.watcher import check_face
from tests.end_to_end.conftest import home, until  # noqa: F401 - a fixture
from tests.engine.http.conftest import OpenApi
from tests.engine.remote.conftest import Attach

Simulate = Callable[..., str]


async def level(face: RemoteEngine, engine: Any) -> None:
    """Wait until the face shows what the engine shows."""

    async with asyncio.timeout(30):
        while replace(engine.snapshot(), version=0) != replace(  # noqa: ASYNC110
            face.snapshot(), version=0
        ):
            await asyncio.sleep(0.02)


async def test_a_whole_life_seen_and_commanded_from_elsewhere(
    open_api: OpenApi, simulate: Simulate, attach: Attach
) -> None:
    simulate("good", say=["<think>", "hm", "</think>", "It", " works"])
    simulate("broken", weights_gb=90_000)
    api = await open_api()
    face = await attach(api)
    await level(face, api.engine)

    with pytest.raises(EngineError) as refused:
        await face.load("broken", actor="ops")
    assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
    await level(face, api.engine)
    assert face.snapshot().model("broken").refusal == refused.value.decision  # type: ignore[union-attr]
    theirs = await api.engine.explain("broken")
    mine = await face.explain("broken")
    assert replace(mine, decision=None) == replace(theirs, decision=None)

    before = face.snapshot().model("good")
    assert before is not None
    await face.load("good", actor="ops", expect=before.version)
    await until(face, lambda s: s.model("good").readiness is Readiness.ROUTABLE)  # type: ignore[arg-type, union-attr]
    await level(face, api.engine)
    with pytest.raises(EngineError) as stale:
        await face.unload("good", actor="ops", expect=before.version)
    assert stale.value.decision.code is Code.CONFLICT

    stream = await face.chat(
        "good", [ChatTurn("user", "hi")], ChatOptions(max_tokens=5), client="c"
    )
    items = [item async for item in stream]
    assert (
        "".join(item.text for item in items if isinstance(item, ChatDelta))
        == "<think>hm</think>It works"
    )
    assert isinstance(items[-1], ChatEnd)
    assert (items[-1].reason, items[-1].completion_tokens) == ("length", 5)
    assert stream.model_id == "good"
    assert "hi" in await face.render("good", [ChatTurn("user", "hi")])
    assert (await face.rows("good", limit=5))[0].outcome == "pass"

    await face.unload("good", actor="ops")
    await level(face, api.engine)
    actors = {event.actor for event in face.events() if event.model_id == "good"}
    assert "ops@10.0.0.7@api:127.0.0.1" in actors


async def test_a_cancelled_answer_ends_at_once_and_frees_its_slot(
    open_api: OpenApi, simulate: Simulate, attach: Attach
) -> None:
    simulate("slow", tokens_per_second=20, say=["word "] * 2000)
    api = await open_api()
    face = await attach(api)
    await face.load("slow", actor="ops", wait=True)
    options = ChatOptions(max_tokens=100_000)
    stream = await face.chat("slow", [ChatTurn("user", "x")], options, client="c")
    await until(face, lambda s: any(r.id == stream.request_id for r in s.requests))  # type: ignore[arg-type]
    heard = []
    async for item in stream:
        heard.append(item)
        stream.cancel()
    assert isinstance(heard[-1], ChatEnd)
    assert heard[-1].reason == "cancelled"
    await until(api.engine, lambda s: not s.requests)


async def test_a_request_cancelled_by_another_is_told_to_whoever_asked(
    open_api: OpenApi, simulate: Simulate, attach: Attach
) -> None:
    simulate("slow", tokens_per_second=20, say=["word "] * 2000)
    api = await open_api()
    one, other = await attach(api), await attach(api, actor="eve@10.0.0.8")
    await one.load("slow", actor="ops", wait=True)
    options = ChatOptions(max_tokens=100_000)
    stream = await one.chat("slow", [ChatTurn("user", "x")], options, client="c")
    await other.cancel(stream.request_id, actor="eve")
    end = [item async for item in stream][-1]
    assert isinstance(end, ChatEnd)
    assert end.reason == "cancelled"
    await other.cancel(stream.request_id, actor="eve")  # it has ended: nothing to say
    await until(one, lambda s: any("eve@10.0.0.8" in e.actor for e in s.events))  # type: ignore[arg-type]


def lock(folder: Path, doors: tuple[str, ...]) -> None:
    folder.mkdir()
    for name in doors:
        (folder / f"{name}-key").write_text(f"{name} key")
        (folder / f"{name}-key").chmod(0o600)


@pytest.mark.parametrize(("files", "shown"), [(("api",), "api"), (("api", "admin"), "admin")])
async def test_a_key_opens_both_doors(
    files: tuple[str, ...],
    shown: str,
    open_api: OpenApi,
    simulate: Simulate,
    attach: Attach,
    home: Path,  # noqa: F811
) -> None:
    simulate("good")
    lock(home, files)
    api = await open_api()
    options = {"key": "admin key"} if shown == "admin" else {"api_key": "api key"}
    face = await attach(api, **options)
    await face.load("good", actor="ops", wait=True)
    stream = await face.chat("good", [ChatTurn("user", "x")], ChatOptions(max_tokens=3), client="c")
    assert [item async for item in stream]
    stranger = await attach(api, key=face._link.key)
    stranger._link = replace(face._link, key="", api_key="")
    with pytest.raises(EngineError) as refused:
        await stranger.chat("good", [ChatTurn("user", "x")], client="c")
    assert refused.value.decision.code is Code.UNAUTHORIZED


async def test_what_happens_while_nobody_listens_is_told_afterwards(
    open_api: OpenApi, attach: Attach
) -> None:
    api = await open_api()
    for number in range(300):
        api.engine.desk.note("noise", str(number))
    face = await attach(api)
    async with asyncio.timeout(30):
        while [e.message for e in face.events() if e.kind == "noise"] != [  # noqa: ASYNC110
            str(n) for n in range(300)
        ]:
            await asyncio.sleep(0.02)
    newest = face.events()[-1].seq
    link = face._link
    gone = replace(link, url="http://127.0.0.1:1")
    face._watcher._link = gone
    for connection in tuple(api.server._server.server_state.connections):  # type: ignore[union-attr]
        connection.transport.abort()
    async with asyncio.timeout(30):
        while face.silent_s() == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert any("127.0.0.1:1" in notice.message for notice in face.snapshot().notices)
    for number in range(700):
        api.engine.desk.note("noise", str(number))
    face._watcher._link = link
    async with asyncio.timeout(30):
        while len([e for e in face.events(newest) if e.kind == "noise"]) < 700:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    seqs = [event.seq for event in face.events(newest)]
    assert seqs == list(range(seqs[0], seqs[-1] + 1))
    assert face.silent_s() == 0
    assert not face.snapshot().notices


async def test_an_action_decided_on_an_earlier_engine_is_not_done_to_a_later_one(
    open_api: OpenApi, simulate: Simulate, attach: Attach
) -> None:
    simulate("good")
    api = await open_api()
    face = await attach(api)
    face._watcher.boot = "an earlier one"
    with pytest.raises(EngineError) as refused:
        await face.load("good", actor="ops")
    assert refused.value.decision.code is Code.CONFLICT
    assert "started again" in refused.value.decision.message
    assert api.engine.snapshot().model("good").readiness is Readiness.UNLOADED  # type: ignore[union-attr]


def test_everything_a_load_may_be_told_travels() -> None:
    values = {
        "backend": Backend.MLX,
        "runtime": "next",
        "host": "b",
        "context": 8192,
        "keep_alive_s": 60.0,
        "allow_unsupported_runtime": True,
        "reserve_gb": 3.5,
        "unattended": True,
    }
    # A number for whatever is added later: then it must travel too.
    options = LoadOptions(**{f.name: values.get(f.name, 3) for f in fields(LoadOptions)})  # type: ignore[arg-type]
    told = json.loads(json.dumps(told_of("m", options)))
    assert LoadRequest.model_validate(told).options() == options
    assert told_of("m", None) == {"model_id": "m"}


def test_another_version_is_told_in_one_sentence() -> None:
    check_face("h:1", PROTOCOL, "1.0", "1.0")
    with pytest.raises(FaceMismatch, match=r"engine at h:1 is Opta-LMX 9.9.*upgrade this console"):
        check_face("h:1", PROTOCOL + 1, "9.9", "1.0")
    with pytest.raises(FaceMismatch, match="upgrade the engine"):
        check_face("h:1", None, "0.0", "1.0")


async def test_the_watch_says_it_lives(open_api: OpenApi) -> None:
    api = await open_api()
    feed = follow(api.server.house)
    kinds: list[str] = []
    async with asyncio.timeout(30):
        while "event: beat" not in kinds:
            kinds.append((await anext(feed)).decode().partition("\n")[0])
    assert kinds[:2] == ["event: hello", "event: whole"]
    await feed.aclose()  # type: ignore[attr-defined]
