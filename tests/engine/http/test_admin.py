"""Administration over HTTP, against a real engine with workers that really die."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import ChatTurn, Readiness
from engine.http.feed import follow
from tests.end_to_end.conftest import until_readiness
from tests.engine.http.conftest import Api, OpenApi

Simulate = Callable[..., str]
NAN = [{"when": "canary", "do": "nan"}]


async def load(api: Api, model_id: str, **fields: Any) -> Any:
    """Ask for a load; returns the answer's body."""
    answer = await api.post("/admin/models/load", {"model_id": model_id, **fields})
    return answer.status, answer.json()


async def test_a_load_answers_once_it_has_proved_itself(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("good")
    api = await open_api()
    assert (await api.get("/admin/models")).json() == {"loaded": [], "count": 0}
    status, body = await load(api, "good")
    assert (status, body["readiness"]["state"]) == (200, "routable")
    assert set(body["readiness"]) == {
        *("state", "since", "strikes", "reason", "probation", "override", "evidence_id")
    }
    listed = (await api.get("/admin/models")).json()
    assert (listed["count"], listed["loaded"][0]["id"]) == (1, "good")
    assert listed["loaded"][0]["readiness"]["state"] == "routable"
    assert (await load(api, "good"))[0] == 200
    answer = await api.post("/admin/models/unload", {"model_id": "good"})
    assert answer.json()["readiness"]["state"] == "unloaded"
    available = (await api.get("/admin/models/available")).json()
    assert [(m["id"], m["readiness"]["state"]) for m in available["models"]] == [
        ("good", "unloaded")
    ]
    assert available["count"] == 1


async def test_without_wait_a_load_is_only_begun(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("slow", load_seconds=0.5)
    api = await open_api()
    status, body = await load(api, "slow", wait=False)
    assert status == 202
    assert body["readiness"]["state"] in ("admitted", "loading")
    await until_readiness(api.engine, "slow", Readiness.ROUTABLE)


async def test_a_failed_canary_is_a_conflict_and_a_quarantine(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("nan", faults=NAN)
    api = await open_api()
    status, body = await load(api, "nan")
    assert (status, body["error"]["code"]) == (409, "model_canary_failed")
    assert body["error"]["evidence_id"]
    status, body = await load(api, "nan")
    assert (status, body["error"]["code"]) == (409, "model_unstable")
    [view] = (await api.get("/admin/quarantine")).json()["quarantine"]
    assert view["model_id"] == "nan"
    early = await api.post("/admin/models/release", {"model_id": "nan"})
    assert (early.status, early.code) == (409, "conflict")
    assert int(early.headers["retry-after"]) > 0
    again = await api.post("/admin/models/release", {"model_id": "nan", "early": True})
    assert (again.status, again.code) == (409, "model_canary_failed")


async def test_a_worker_that_dies_while_loading(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("crash", faults=[{"when": "load", "do": "segv"}])
    api = await open_api()
    status, body = await load(api, "crash")
    assert status in (409, 502)
    assert "SIGSEGV" in json.dumps(body)


async def test_an_override_is_on_the_record_with_its_actor(
    open_api: OpenApi, simulate: Simulate, tmp_path: Path
) -> None:
    blocked = tmp_path / "signatures.toml"
    blocked.write_text(
        '[[signature]]\nid = "test"\nbackend = "simulated"\narchitecture = "simulated"\n'
        'reason = "known to fail"\nreference = "none"\n'
    )
    simulate("m")
    api = await open_api(signatures=blocked)
    status, body = await load(api, "m")
    assert (status, body["error"]["code"]) == (422, "model_unsupported_backend")
    assert body["error"]["overridable"] is True
    answer = await api.ask(
        "POST",
        "/admin/models/load",
        {"model_id": "m", "allow_unsupported_runtime": True},
        headers={"X-LMX-Actor": "deploy bot\x1b[31m" + "n" * 500},
    )
    assert answer.json()["readiness"]["override"] is True
    actors = {event.actor for event in api.engine.events() if event.model_id == "m"}
    assert any("deploy bot" in actor and "@api:127.0.0.1" in actor for actor in actors)
    assert all(len(actor) < 200 and "\x1b" not in actor for actor in actors)


async def test_an_action_decided_on_another_state_is_a_conflict(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("m")
    api = await open_api()
    before = (await api.get("/admin/models/m")).json()["version"]
    assert (await load(api, "m", expect=before))[0] == 200
    answer = await api.post("/admin/models/unload", {"model_id": "m", "expect": before})
    assert (answer.status, answer.code) == (409, "conflict")


async def test_a_hold_and_its_release(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api()
    held = await api.post("/admin/models/hold", {"model_id": "m"})
    assert held.json()["readiness"]["state"] == "quarantined"
    assert (await load(api, "m"))[1]["error"]["code"] == "model_unstable"
    freed = await api.post("/admin/models/release", {"model_id": "m", "early": True})
    assert freed.json()["readiness"]["state"] == "routable"
    assert freed.json()["readiness"]["probation"] is True


async def test_a_canary_in_service_and_from_rest(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    simulate("nan", faults=NAN)
    api = await open_api()
    resting = await api.post("/admin/models/canary", {"model_id": "m"})
    assert (resting.status, resting.code) == (409, "model_not_ready")
    odd = await api.post("/admin/models/canary", {"model_id": "m", "runtime": "default"})
    assert (odd.status, odd.json()["error"]["param"]) == (400, "runtime")
    stale = {"model_id": "m", "load": True, "expect": 77}
    assert (await api.post("/admin/models/canary", stale)).code == "conflict"
    tried = (await api.post("/admin/models/canary", {"model_id": "m", "load": True})).json()
    assert (tried["passed"], tried["trial"]["outcome"]) == (True, "passed")
    assert (await api.get("/admin/models/m")).json()["readiness"]["state"] == "unloaded"
    failed = (await api.post("/admin/models/canary", {"model_id": "nan", "load": True})).json()
    assert (failed["passed"], failed["trial"]["outcome"]) == (False, "failed")
    await load(api, "m")
    served = (await api.post("/admin/models/canary", {"model_id": "m"})).json()
    assert served["passed"] is True
    assert {step["result"] for step in served["canary"]["steps"]} <= {"pass", "warn", "skipped"}


async def test_a_canary_that_fails_in_service(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("sick", faults=[{"when": "canary", "after": 9, "do": "nan"}])
    api = await open_api()
    assert (await load(api, "sick"))[0] == 200
    answer = await api.post("/admin/models/canary", {"model_id": "sick"})
    assert (answer.status, answer.code) == (409, "model_canary_failed")
    assert (await api.get("/readyz")).status == 503


async def test_explain_gives_the_row_of_the_command(
    open_api: OpenApi, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good")
    simulate("huge", weights_gb=90_000)
    api = await open_api()
    row = (await api.post("/admin/models/explain", {"model_id": "huge"})).json()
    assert (row["admitted"], row["code"], row["check"]) == (False, "insufficient_memory", "memory")
    assert list(row) == [
        *("model", "path", "admitted", "code", "check", "message", "remedy", "overridable"),
        "checks",
    ]
    known = {"model_id": str(tmp_path / "models" / "good")}
    assert (await api.post("/admin/models/explain", known)).json()["model"] == "good"
    for elsewhere in ("/etc/passwd", "../../etc/passwd", str(tmp_path)):
        answer = await api.post("/admin/models/explain", {"model_id": elsewhere})
        assert (answer.status, answer.code) == (404, "model_not_found")
    probed = (await api.post("/admin/models/probe", {"model_id": "good"})).json()
    assert probed["recommended"] == "default"
    assert [c["outcome"] for c in probed["candidates"]] == ["pass"]
    wrong = {"model_id": "good", "backend": "gguf"}
    assert (await api.post("/admin/models/explain", wrong)).code == "model_unsupported_backend"


async def test_ids_with_slashes_find_their_way(
    open_api: OpenApi, simulate: Simulate, tmp_path: Path
) -> None:
    hub = tmp_path / "hub" / "models--org--name" / "snapshots" / "1"
    hub.mkdir(parents=True)
    (hub / "simulated.json").write_text('{"kind": "simulated", "load_seconds": 0.05}')
    (hub.parent.parent / "refs").mkdir()
    (hub.parent.parent / "refs" / "main").write_text("1")
    api = await open_api(hf_cache=tmp_path / "hub")
    assert (await load(api, "org/name"))[0] == 200
    for path in ("/admin/models/org/name", "/admin/models/org%2Fname"):
        assert (await api.get(path)).json()["id"] == "org/name"
    figures = (await api.get("/admin/models/org/name/performance")).json()
    assert figures["readiness"]["state"] == "routable"
    assert figures["model_id"] == "org/name"
    assert (await api.get("/admin/models/org/none/performance")).code == "model_not_found"


async def test_performance_counts_what_was_asked(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api()
    await load(api, "m")
    for _ in range(3):
        stream = await api.engine.chat("m", (ChatTurn("user", "hello"),), client="c")
        assert [item async for item in stream][-1].decision is None  # type: ignore[union-attr]
    figures = (await api.get("/admin/models/m/performance")).json()["performance"]
    assert figures["requests"] == sum(figures["outcomes"].values()) == 3
    assert figures["completion_tokens"] > 0
    assert figures["ttft_ms"]["p50"] <= figures["ttft_ms"]["max"]
    assert figures["canaries"] == {"pass": 1}


async def test_requests_are_listed_and_cancelled(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m", tokens_per_second=5, say=["word "])
    api = await open_api()
    await load(api, "m")
    stream = await api.engine.chat("m", (ChatTurn("user", "talk"),), client="someone")
    listed = (await api.get("/admin/requests")).json()
    assert [(r["id"], r["client"]) for r in listed["requests"]] == [(stream.request_id, "someone")]
    gone = await api.ask("DELETE", f"/admin/requests/{stream.request_id}")
    assert gone.json() == {"id": stream.request_id, "cancelled": True}
    items = [item async for item in stream]
    assert items[-1].reason == "cancelled"  # type: ignore[union-attr]
    assert (await api.ask("DELETE", "/admin/requests/none")).status == 404


async def test_the_registry_is_asked_exported_and_merged(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("good")
    simulate("nan", faults=NAN)
    api = await open_api()
    for model_id in ("good", "nan"):
        await load(api, model_id)
    found = (await api.get("/admin/models/compatibility")).json()
    assert found["total"] == len(found["rows"]) >= 2
    assert found["summary"]["good"]["pass"] == 1
    assert set(found["rows"][0]) == {
        *("ts", "model_id", "backend", "backend_version", "outcome", "reason", "metadata")
    }
    path = "/admin/models/compatibility?model_id=nan&outcome=fail&backend=simulated&limit=1"
    failed = (await api.get(path)).json()
    assert [row["model_id"] for row in failed["rows"]] == ["nan"]
    assert list(failed["summary"]) == ["nan"]
    later = (await api.get("/admin/models/compatibility?since_ts=99999999999")).json()
    assert later["total"] == 0
    for wrong in ("limit=-1", "outcome=maybe", "since_ts=nan", "backend=none"):
        answer = await api.get(f"/admin/models/compatibility?{wrong}")
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert answer.json()["error"]["param"] == wrong.partition("=")[0]
    exported = await api.get("/admin/registry/export")
    rows = exported.json()
    for row in rows:
        row["metadata"]["origin"] = "elsewhere"
    merged = (await api.post("/admin/registry/import", rows)).json()
    assert merged["added"] == len(rows)
    assert (await api.post("/admin/registry/import", rows)).json()["added"] == 0
    assert (await api.post("/admin/registry/import", [{"a": 1}])).code == "invalid_request"


async def test_status_and_memory(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api()
    await load(api, "m")
    status = (await api.get("/admin/status")).json()
    assert status["models"]["routable"] == 1
    assert status["api"] == f"127.0.0.1:{api.port}"
    assert status["ready"] is True
    memory = (await api.get("/admin/memory")).json()
    assert memory["reserved"] == memory["models"][0]["estimate_bytes"] > 0


async def test_wrong_fields_are_named(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api()
    for body, param in (
        ({}, "model_id"),
        ({"model_id": ""}, "model_id"),
        ({"model_id": 7}, "model_id"),
        ({"model_id": "m", "context": 0}, "context"),
        ({"model_id": "m", "keep_alive_sec": -1}, "keep_alive_sec"),
        ({"model_id": "m", "reserve_gb": 0}, "reserve_gb"),
        ({"model_id": "m", "alow_unsupported_runtime": True}, "alow_unsupported_runtime"),
        ([], "body"),
    ):
        answer = await api.post("/admin/models/load", body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert answer.json()["error"]["param"] == param
    missing = await api.raw(b"POST /admin/models/load HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (missing.status, missing.code) == (400, "invalid_request")


async def test_read_only_changes_nothing(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api(readonly=True)
    for action in ("load", "unload", "hold", "release", "canary", "rescan"):
        answer = await api.post(f"/admin/models/{action}", {"model_id": "m"})
        assert (answer.status, answer.code) == (403, "forbidden")
    assert (await api.ask("DELETE", "/admin/requests/x")).status == 403
    assert (await api.post("/admin/registry/import", [])).status == 403
    assert (await api.get("/admin/models")).status == 200
    assert (await api.post("/admin/models/explain", {"model_id": "m"})).status == 200


# -- the feed -------------------------------------------------------------------------------------


async def read_feed(api: Api, count: int, path: str = "/admin/events", *headers: str) -> list[Any]:
    """So many events off the wire, as (id, kind, data)."""
    reader, writer = await api.connect()
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    found: list[Any] = []
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"text/event-stream" in head
        event: dict[str, str] = {}
        while len(found) < count:
            line = (await reader.readline()).decode().rstrip("\r\n")
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                event[name] = value
            if name == "data":
                found.append((int(event["id"]), event["event"], json.loads(value)))
    writer.close()
    return found


async def test_the_feed_replays_from_memory_and_from_the_files(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("m")
    api = await open_api(events_kept=5)
    for _ in range(4):
        await load(api, "m")
        await api.post("/admin/models/unload", {"model_id": "m"})
    newest = api.engine.events()[-1].seq
    oldest_kept = api.engine.events()[0].seq
    assert oldest_kept > 5
    found = await read_feed(api, newest, "/admin/events?after=0")
    assert [seq for seq, _, _ in found] == list(range(1, newest + 1))
    assert found[0][1] == found[0][2]["kind"] == "engine_started"
    again = await read_feed(api, newest - 7, "/admin/events", "Last-Event-ID: 7")
    assert [seq for seq, _, _ in again] == list(range(8, newest + 1))
    live = asyncio.create_task(read_feed(api, 1, "/admin/events", "Last-Event-ID: 99999999"))
    await asyncio.sleep(0)
    await load(api, "m")
    assert (await live)[0][0] > newest
    wrong = await api.get("/admin/events", Last_Event_ID="yesterday")
    assert (wrong.status, wrong.code) == (400, "invalid_header")


async def test_a_silent_feed_beats_and_the_end_of_the_server_ends_it(
    open_api: OpenApi,
) -> None:
    api = await open_api(http={"heartbeat_s": 0.05})
    reader, writer = await api.connect()
    writer.write(b"GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(30):
        await reader.readuntil(b": still here\n\n")
        await api.server.stop()
        await reader.read()
    writer.close()


async def test_a_reader_that_never_reads_holds_nothing_up(
    open_api: OpenApi, simulate: Simulate
) -> None:
    api = await open_api()
    _, writer = await api.connect()
    writer.write(b"GET /admin/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for number in range(3000):
        api.engine.desk.note("noise", f"{number} " + "x" * 1000)
        if number % 100 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert (await api.get("/livez")).status == 200
        await api.server.stop()
    writer.close()


async def test_the_feed_goes_on_while_the_log_grows(open_api: OpenApi) -> None:
    api = await open_api(events_kept=10)
    for number in range(200):
        api.engine.desk.note("noise", str(number))
    seen: list[int] = []
    async for piece in follow(api.server.house, 0):
        seen += [int(line[4:]) for line in piece.decode().splitlines() if line.startswith("id: ")]
        if len(seen) < 400:
            for number in range(5):
                api.engine.desk.note("noise", str(number))
        elif seen[-1] == api.engine.events()[-1].seq:
            break
    assert seen == list(range(1, len(seen) + 1))
