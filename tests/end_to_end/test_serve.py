"""``lmx serve`` as a process: where it answers, what is in its way, every way it ends."""

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.console.pty.conftest import all_gone
from tests.end_to_end.conftest import Server
from tests.end_to_end.served import Served

Simulate = Callable[..., str]


def files_are_whole(home: Path) -> bool:
    json.loads((home / "compatibility-registry.json").read_text())
    state = json.loads((home / "state.json").read_text())
    for line in (home / "events.jsonl").read_text().splitlines():
        json.loads(line)
    return not state["intents"] and not (home / "engine.json").exists()


def test_it_serves_tells_and_ends_in_order(
    serve: Server, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    served = serve(NOTIFY_SOCKET=str(tmp_path / "notify")).ready()
    assert manager.recv(1000).startswith(b"READY=1\n")
    about = json.loads((tmp_path / "home" / "engine.json").read_text())
    assert about["address"] == f"127.0.0.1:{served.port}"
    served.load("good")
    assert served.ask("GET", "/healthz")[1]["models"]["routable"] == 1
    workers = served.workers()
    assert len(workers) == 1
    served.signal(signal.SIGTERM)
    assert served.wait_for_end() == 0
    assert manager.recv(1000).startswith(b"STOPPING=1\n")
    manager.close()
    assert all_gone(workers, 2.0)
    assert files_are_whole(tmp_path / "home")
    served.wait_for(r"model_proved good: canary_pending → routable")
    served.wait_for(r"model_unloaded good")
    assert served.process.stdout is not None
    assert served.process.stdout.read() == ""


def test_one_that_is_killed_leaves_no_worker(serve: Server, simulate: Simulate) -> None:
    simulate("good")
    served = serve().ready()
    served.load("good")
    workers = served.workers()
    served.signal(signal.SIGKILL)
    served.wait_for_end()
    assert all_gone(workers, 2.0)
    again = serve().ready()
    again.wait_for("worker_orphaned good")
    again.load("good")


def test_a_taken_port_names_who_holds_it(serve: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = serve("--api", f"127.0.0.1:{port}")
        assert served.wait_for_end() == 1
    assert f"127.0.0.1:{port}: the port is taken by process" in served.words
    assert "api_down" in served.words
    assert "Traceback" not in served.words


def test_a_taken_home_names_who_holds_it(serve: Server) -> None:
    first = serve().ready()
    second = serve()
    assert second.wait_for_end() == 1
    assert f"in use by process {first.process.pid}" in second.words
    assert f"answering at 127.0.0.1:{first.port}" in second.words
    assert first.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_usage_error(serve: Server, address: str) -> None:
    served = serve("--api", address)
    assert served.wait_for_end() == 2
    assert "HOST:PORT" in served.words


def test_other_machines_are_served_with_a_key_only(serve: Server) -> None:
    served = serve("--api", "0.0.0.0:0")
    assert served.wait_for_end() == 2
    assert "api-key" in served.words


def streamed(served: Served) -> list[str]:
    """A long answer, as the lines of its stream; empty lines aside."""
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    body = {
        "model": "talker",
        "messages": [{"role": "user", "content": "talk"}],
        "max_tokens": 20,
        "stream": True,
    }
    client.request(
        "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    lines = client.getresponse().read().decode().splitlines()
    client.close()
    return [line for line in lines if line]


@pytest.mark.parametrize("hurry", [False, True])
def test_the_first_signal_drains_and_the_second_one_does_not_wait(
    hurry: bool, serve: Server, simulate: Simulate
) -> None:
    simulate("talker", tokens_per_second=4, say=["word "])
    served = serve().ready()
    served.load("talker")
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(streamed, served)
        while not served.ask("GET", "/admin/requests")[1]["count"]:
            time.sleep(0.02)
        served.signal(signal.SIGTERM)
        served.wait_for("requests in flight have")
        status, refused = served.ask("POST", "/admin/models/load", {"model_id": "talker"})
        assert (status, refused["error"]["code"]) == (503, "shutting_down")
        if hurry:
            served.signal(signal.SIGTERM)
        lines = stream.result()
    assert served.wait_for_end() == 0
    if hurry:
        assert "data: [DONE]" not in lines
        assert "shutting_down" in lines[-1]
    else:
        assert lines[-1] == "data: [DONE]"


def test_read_only_changes_nothing(serve: Server, simulate: Simulate) -> None:
    simulate("good")
    served = serve("--readonly").ready()
    status, body = served.ask("POST", "/admin/models/load", {"model_id": "good"})
    assert (status, body["error"]["code"]) == (403, "forbidden")
    assert served.ask("GET", "/admin/status")[1]["readonly"] is True
