"""A fleet's models over the API and on the command line: the plain id means every copy there too,
and the answer says which rows it was done to."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from engine import ApiServer, Code, Engine, EngineError, LoadOptions, Readiness
from engine.address import Address
from engine.remote.link import Link
from tests.engine.fleet.paper import ACTOR, PaperCluster, until, view, where

ROUTABLE, QUARANTINED = Readiness.ROUTABLE, Readiness.QUARANTINED
COPIES = ["many@b", "many@c"]


class Api:
    """The engine of a fleet, asked from outside."""

    def __init__(self, engine: Engine, cluster: PaperCluster, address: str) -> None:
        self.engine = engine
        self.cluster = cluster
        self.url = f"http://{address}"
        self._link = Link(self.url, actor=ACTOR)

    async def act(self, what: str, model_id: str, **more: Any) -> Any:
        body = {"model_id": model_id} | more
        return await self._link.ask("POST", f"/admin/models/{what}", body)

    async def get(self, path: str) -> Any:
        return await self._link.ask("GET", path)

    async def command(self, capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
        """What ``lmx`` prints for a program."""
        await asyncio.to_thread(main, [*words, "--url", self.url, "--json"])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A model that two other hosts have, and the engine's own has not."""
    cluster = PaperCluster(tmp_path)
    cluster.put("own", "alone")
    for host in ("b", "c"):
        cluster.put(host, "many")
    async with cluster.engine(autoload=True) as engine:
        await cluster.join("c", "b")
        server = ApiServer(engine, engine.settings, Address("127.0.0.1", 0), version="1")
        await server.start()
        yield Api(engine, cluster, str(server.address))
        await server.stop()


async def test_actions_by_the_plain_id_tell_the_rows_they_were_done_to(api: Api) -> None:
    loaded = await api.act("load", "many", replicas=2)
    assert loaded["touched"] == COPIES
    assert (await api.act("canary", "many"))["touched"] == COPIES
    assert (await api.act("canary", "many@c"))["touched"] == ["many@c"]
    tried = await api.act("canary", "many", load=True)
    assert [trial["model"] for trial in tried["trials"]] == COPIES
    assert (await api.act("unload", "many@c"))["touched"] == ["many@c"]
    assert (await api.act("unload", "many"))["touched"] == ["many@b"]
    assert (await api.act("unload", "many"))["touched"] == []
    held = await api.act("hold", "many")
    assert held["touched"] == COPIES
    assert held["readiness"]["state"] == "quarantined"
    row = view(api.engine, "many@b")
    # With the version it was decided on an action is about one row.
    released = await api.act("release", "many@b", expect=row.version)
    assert released["touched"] == ["many@b"]
    assert where(api.engine, QUARANTINED) == ["many@c"]
    assert (await api.act("release", "many"))["touched"] == ["many@c"]
    assert where(api.engine, ROUTABLE) == COPIES


async def test_a_release_that_fails_is_told_although_another_copy_serves(api: Api) -> None:
    await api.act("load", "many@b")
    await api.act("hold", "many@c")
    api.cluster.placement.sick = True
    with pytest.raises(EngineError) as failed:
        await api.act("release", "many")
    assert failed.value.decision.code is Code.MODEL_CANARY_FAILED
    assert where(api.engine, ROUTABLE) == ["many@b"]


async def test_the_plain_id_is_looked_up_as_the_copy_that_would_answer(api: Api) -> None:
    assert (await api.get("/admin/models/many"))["id"] == "many@b"
    await api.engine.load("many", LoadOptions(host="c"), actor=ACTOR, wait=True)
    assert (await api.get("/admin/models/many"))["id"] == "many@c"
    assert (await api.get("/admin/models/many@b"))["id"] == "many@b"
    assert (await api.act("explain", "many"))["model"] == "many@c"


async def test_clients_see_one_model_and_may_name_a_copy(api: Api) -> None:
    question = {"messages": [{"role": "user", "content": "?"}]}
    link = Link(api.url)
    # Asked for by its name it is loaded where there is room; a copy that is held is passed over.
    await api.act("hold", "many@b")
    answer = await link.ask("POST", "/v1/chat/completions", question | {"model": "many"})
    assert answer["model"] == "many@c"
    await api.act("release", "many@b")
    listed = [model["id"] for model in (await api.get("/v1/models"))["data"]]
    assert listed == ["many"]
    assert (await api.get("/v1/models/many"))["id"] == "many"
    assert (await api.get("/v1/models/many@b"))["id"] == "many@b"
    answer = await link.ask("POST", "/v1/chat/completions", question | {"model": "many@b"})
    assert answer["model"] == "many@b"


async def test_commands_act_on_every_copy_and_say_so(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    [loaded] = await api.command(capsys, "load", "many", "--replicas", "2")
    assert loaded["touched"] == COPIES
    proved = await api.command(capsys, "canary", "many")
    assert [(row["model"], row["outcome"]) for row in proved] == [
        (name, "passed") for name in COPIES
    ]
    [held] = await api.command(capsys, "hold", "many")
    assert held["touched"] == COPIES
    await until(api.engine, lambda: where(api.engine, QUARANTINED) == COPIES)
    await asyncio.to_thread(main, ["release", "many", "--url", api.url])
    assert "many@b, many@c are routable" in capsys.readouterr().err
