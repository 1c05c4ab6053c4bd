"""An action sent again with its key is done once, whatever becomes of its connection."""

import asyncio
import json
from collections.abc import Callable

from engine import Readiness
from engine.http import once
from tests.end_to_end.conftest import until
from tests.engine.http.conftest import Api, OpenApi

Simulate = Callable[..., str]
KEY = {"Idempotency-Key": "k-1"}


def transitions(api: Api, model_id: str) -> int:
    view = api.engine.snapshot().model(model_id)
    assert view is not None
    return sum(step.target is Readiness.ADMITTED for step in view.transitions)


async def test_a_repeated_key_is_answered_with_the_first_result(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("good")
    api = await open_api()
    first = await api.ask("POST", "/admin/models/load", {"model_id": "good"}, headers=KEY)
    await api.post("/admin/models/unload", {"model_id": "good"})
    again = await api.ask("POST", "/admin/models/load", {"model_id": "good"}, headers=KEY)
    assert first.status == again.status == 200
    assert again.body == first.body
    assert api.engine.snapshot().model("good").readiness is Readiness.UNLOADED  # type: ignore[union-attr]
    assert transitions(api, "good") == 1


async def test_one_that_still_runs_is_joined_though_its_first_connection_broke(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("good", load_seconds=0.5)
    api = await open_api()
    body = json.dumps({"model_id": "good"}).encode()
    _, writer = await api.connect()
    head = f"POST /admin/models/load HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\n"
    head += "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await until(api.engine, lambda s: s.model("good").readiness is Readiness.LOADING)  # type: ignore[union-attr]
    writer.transport.abort()
    answers = await asyncio.gather(
        *(
            api.ask("POST", "/admin/models/load", {"model_id": "good"}, headers=KEY)
            for _ in range(2)
        )
    )
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json()["readiness"]["state"] == "routable"
    assert transitions(api, "good") == 1


async def test_a_refusal_is_told_again_and_a_key_serves_one_action(
    open_api: OpenApi, simulate: Simulate
) -> None:
    simulate("huge", weights_gb=90_000)
    api = await open_api()
    first = await api.ask("POST", "/admin/models/load", {"model_id": "huge"}, headers=KEY)
    again = await api.ask("POST", "/admin/models/load", {"model_id": "huge"}, headers=KEY)
    assert (first.status, first.body) == (again.status, again.body)
    assert first.code == "insufficient_memory"
    other = await api.ask("POST", "/admin/models/hold", {"model_id": "huge"}, headers=KEY)
    assert (other.status, other.code) == (409, "conflict")
    long = await api.ask("POST", "/admin/models/rescan", headers={"Idempotency-Key": "x" * 300})
    assert (long.status, long.code) == (400, "invalid_header")


async def test_an_action_for_another_life_of_the_engine_is_refused(open_api: OpenApi) -> None:
    api = await open_api()
    boot = (await api.get("/admin/status")).json()["boot"]
    right = await api.ask("POST", "/admin/models/rescan", headers={"X-LMX-Engine": boot})
    wrong = await api.ask("POST", "/admin/models/rescan", headers={"X-LMX-Engine": "other"})
    assert right.status == 200
    assert (wrong.status, wrong.code) == (409, "conflict")


async def test_results_are_forgotten_by_number_and_by_age() -> None:
    now = [0.0]

    async def app(scope: object, receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[misc]

    ward = once.Once(app, boot="b", monotonic=lambda: now[0])

    async def act(key: str) -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: object) -> None:
            return None

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/admin/x",
            "raw_path": b"/admin/x",
            "query_string": b"",
            "headers": [(b"idempotency-key", key.encode())],
        }
        await ward(scope, receive, send)

    for number in range(once.KEPT + 10):
        await act(str(number))
    assert len(ward._deeds) <= once.KEPT + 1
    now[0] = once.KEPT_S + 1
    await act("last")
    assert list(ward._deeds) == ["last"]
