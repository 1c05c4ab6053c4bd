"""Commands that ask a running engine: what is on stdout, and the exit status."""

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from tests.end_to_end.conftest import Server
from tests.end_to_end.served import Served

Simulate = Callable[..., str]
Lmx = Callable[..., tuple[int, list[Any], str]]
NAN = [{"when": "canary", "do": "nan"}]


@pytest.fixture
def lmx(capfd: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Lmx:
    """Run a command with ``--json``; every line of stdout must be an object."""
    monkeypatch.delenv("LMX_URL", raising=False)

    def run(*arguments: str) -> tuple[int, list[Any], str]:
        capfd.readouterr()
        status = main([*arguments, "--json"])
        out, err = capfd.readouterr()
        rows = [json.loads(line) for line in out.splitlines()]
        assert all(isinstance(row, dict) for row in rows)
        return status, rows, err

    return run


@pytest.fixture
def served(serve: Server, simulate: Simulate) -> Served:
    """An engine with a good model and one that fails its canary."""
    simulate("good")
    simulate("nan", faults=NAN)
    return serve().ready()


def test_a_models_whole_life_by_commands(lmx: Lmx, served: Served) -> None:
    status, [loaded], words = lmx("load", "good", "--context", "512", "--keep-alive", "90")
    assert (status, loaded["readiness"]["state"]) == (0, "routable")
    assert loaded["model"]["context"] == 512
    assert words == ""
    status, [seen], _ = lmx("status")
    assert (status, seen["ready"]) == (0, True)
    assert [model["id"] for model in seen["loaded"]] == ["good"]
    status, [said], _ = lmx("chat", "good", "hello", "--max-tokens", "4")
    assert (status, said["content"], said["finish_reason"]) == (0, "It works.It", "length")
    assert said["usage"]["completion_tokens"] == 4
    assert lmx("hold", "good")[1][0]["readiness"]["state"] == "quarantined"
    status, [refused], words = lmx("chat", "good", "hello")
    assert (status, refused["error"]["code"]) == (1, "model_unstable")
    assert "model_unstable" in words
    assert lmx("release", "good", "--early")[1][0]["readiness"]["probation"] is True
    status, [gone], _ = lmx("unload", "good")
    assert (status, gone["readiness"]["state"]) == (0, "quarantined")


def test_people_get_words_and_never_a_traceback(
    served: Served, lmx: Lmx, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["load", "good"]) == 0
    assert capfd.readouterr() == ("", "lmx: good is routable\n")
    assert main(["chat", "good", "hello", "--max-tokens", "3"]) == 0
    assert capfd.readouterr().out == "It works.\n"
    assert main(["status"]) == 0
    assert "routable" in capfd.readouterr().out
    assert main(["load", "nonesuch"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "model_not_found" in err
    assert "next:" in err


def test_a_refusal_is_one_and_its_decision_is_printed(lmx: Lmx, served: Served) -> None:
    status, [refused], words = lmx("load", "nan")
    assert (status, refused["error"]["code"]) == (1, "model_canary_failed")
    assert "model_canary_failed" in words
    status, [refused], _ = lmx("release", "nan")
    assert (status, refused["error"]["code"]) == (1, "conflict")
    status, [refused], _ = lmx("load", "good", "--reserve-gb", "100000")
    assert (status, refused["error"]["code"]) == (1, "insufficient_memory")


def test_canary_asks_the_engine_that_runs(lmx: Lmx, served: Served) -> None:
    status, rows, words = lmx("canary", "--all")
    assert status == 1
    assert {row["model"]: row["outcome"] for row in rows} == {"good": "passed", "nan": "failed"}
    assert "1 passed (0 slower than before), 1 failed, 0 never tried" in words
    status, [row], _ = lmx("canary", "nonesuch")
    assert (status, row["outcome"], row["code"]) == (1, "never_tried", "model_not_found")
    lmx("load", "good")
    assert lmx("canary", "good")[0] == 0
    assert lmx("status")[1][0]["models"]["routable"] == 1


def test_canary_starts_its_own_engine_where_none_answers(
    lmx: Lmx, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served.process.kill()  # its engine.json stays behind
    served.wait_for_end()
    monkeypatch.setenv("LMX_FOLDERS", str(tmp_path / "models"))
    monkeypatch.setenv("LMX_STARTER", "false")
    assert lmx("canary", "good")[0] == 0


@pytest.mark.parametrize(
    "command",
    [("status",), ("load", "m"), ("unload", "m"), ("release", "m"), ("hold", "m"), ("chat", *"mx")],
)
def test_without_an_engine_it_is_three(lmx: Lmx, command: tuple[str, ...]) -> None:
    status, rows, words = lmx(*command)
    assert (status, rows) == (3, [])
    assert "no engine runs in" in words


def test_an_address_where_nobody_or_somebody_else_answers(lmx: Lmx) -> None:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        port = spare.getsockname()[1]
    status, rows, words = lmx("status", "--url", f"127.0.0.1:{port}")
    assert (status, rows) == (3, [])
    assert "no engine answers" in words
    assert lmx("status", "--url", "ftp://x")[0] == 3

    class Other(BaseHTTPRequestHandler):
        shown: dict[str, str] = {}  # noqa: RUF012

        def do_GET(self) -> None:
            self.shown.update(self.headers)
            body = b'{"error": "Unexpected endpoint"}'
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        status, _, words = lmx("status", "--url", f"http://127.0.0.1:{other.server_port}")
        thread.join()
    assert status == 3
    assert "no Opta-LMX engine" in words


def test_keys_are_those_of_the_home_and_stay_there(
    lmx: Lmx, serve: Server, simulate: Simulate, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate("good")
    home.mkdir(mode=0o700)
    for name in ("api-key", "admin-key"):
        (home / name).write_text(f"the-{name}")
        (home / name).chmod(0o600)
    served = serve().ready()
    assert lmx("load", "good")[0] == 0
    assert lmx("chat", "good", "hello")[0] == 0
    url = f"http://127.0.0.1:{served.port}"
    status, [refused], _ = lmx("status", "--url", url)
    assert (status, refused["error"]["code"]) == (1, "unauthorized")
    monkeypatch.setenv("LMX_ADMIN_KEY", "the-admin-key")
    monkeypatch.setenv("LMX_URL", url)
    assert lmx("status")[0] == 0
    assert "the-a" not in served.words + (home / "events.jsonl").read_text()


def test_a_worker_that_dies_under_a_chat_is_a_refusal(
    lmx: Lmx, serve: Server, simulate: Simulate
) -> None:
    simulate("crash", faults=[{"when": "token", "after": 30, "do": "abort"}])
    serve().ready()
    assert lmx("load", "crash")[0] == 0
    status, rows, words = lmx("chat", "crash", "hello", "--max-tokens", "200")
    assert (status, rows[-1]["error"]["code"]) == (1, "model_unstable")
    assert "SIGABRT" in words
