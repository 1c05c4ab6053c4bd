"""Whether it lives, whether it may be sent requests, and its figures."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.face import ChatEnd
from engine.http.metrics import MODELS_NAMED, Metrics
from tests.console.scripted import ScriptedEngine, snapshot_of
from tests.engine.http.conftest import Api, OpenApi

Simulate = Callable[..., str]


async def figures(api: Api) -> dict[tuple[str, ...], float]:
    """Every sample of a scrape by its name and its labels' values, the model's first."""

    def order(label: tuple[str, str]) -> tuple[bool, str]:
        return label[0] != "model", label[0]

    page = (await api.get("/metrics")).body.decode()
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items(), key=order))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def test_ready_is_a_model_that_takes_requests(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("m")
    api = await open_api()
    assert (await api.get("/livez")).body == b"ok\n"
    unready = await api.get("/readyz")
    assert (unready.status, unready.body) == (503, b"no model is routable\n")
    await api.post("/admin/models/load", {"model_id": "m"})
    assert (await api.get("/readyz")).status == 200
    assert (await api.get("/healthz")).json()["status"] == "ok"
    for path in ("/livez", "/readyz", "/healthz"):
        reader, writer = await api.connect()
        writer.write(
            f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        head = await reader.read()
        writer.close()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")


async def test_ready_may_be_just_the_engine(open_api: OpenApi) -> None:
    api = await open_api(ready_when="started")
    assert (await api.get("/readyz")).status == 200


async def test_an_engine_that_does_nothing_is_not_ready(
    open_api: OpenApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await open_api(ready_when="started")
    monkeypatch.setattr(api.engine.desk, "stalled_s", lambda: 12.0)
    unready = await api.get("/readyz")
    assert (unready.status, unready.body) == (503, b"the engine has done nothing for 12 s\n")


async def test_a_scrape_tells_what_happened(open_api: OpenApi, simulate: Simulate) -> None:
    simulate("good")
    simulate("nan", faults=[{"when": "canary", "do": "nan"}])
    simulate("crash", faults=[{"when": "load", "do": "segv", "times": 1}])
    api = await open_api()
    for model_id in ("good", "nan", "crash"):
        await api.post("/admin/models/load", {"model_id": model_id})
    chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
    for model in ("good", "nan", "nonesuch"):
        await api.post("/v1/chat/completions", {"model": model, **chat})
    found = await figures(api)
    assert found["lmx_requests_total", "good", "ok"] == 1
    assert found["lmx_requests_total", "nan", "model_unstable"] == 1
    assert found["lmx_requests_total", "other", "model_not_found"] == 1
    assert found["lmx_tokens_total", "good", "completion"] == 3
    assert found["lmx_time_to_first_token_seconds_count", "good"] == 1
    assert found["lmx_inter_token_seconds_count", "good"] >= 1
    assert found["lmx_model_readiness", "good", "routable"] == 1
    assert found["lmx_model_readiness", "nan", "quarantined"] == 1
    assert found["lmx_model_readiness", "nan", "routable"] == 0
    assert found["lmx_canary_runs_total", "nan", "fail"] == 1
    assert found["lmx_canary_seconds_total", "good"] > 0
    assert found["lmx_worker_restarts_total", "crash"] == 1
    assert found["lmx_model_strikes", "crash"] == 1
    assert found["lmx_requests_in_flight", "good", "queued"] == 0
    assert found["lmx_memory_bytes", "reserved"] > 0


def test_names_clients_make_up_do_not_pile_up() -> None:
    metrics = Metrics(ScriptedEngine(snapshot_of()))
    for number in range(5 * MODELS_NAMED):
        metrics.request_ended(f"made-up-{number}", "model_not_found")
        metrics.request_ended(f"made-up-{number}", "ok", ChatEnd("stop", 1, 1))
    page = metrics.page().decode()
    assert "made-up" not in page
    assert 'lmx_requests_total{code="model_not_found",model="other"} 1000.0' in page


async def test_the_docs_describe_what_is_served(open_api: OpenApi) -> None:
    api = await open_api()
    page = await api.get("/docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    described = (await api.get("/openapi.json")).json()
    assert "/admin/models/{model_id}/performance" in described["paths"]
    load = described["paths"]["/admin/models/load"]["post"]["responses"]
    assert load["default"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorBody")
    assert "422" not in load
