"""Every fault of a simulated model really happens to a real worker."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.backends.simulated_fault import ABNORMAL_EXIT, FLOOD_BYTES
from engine.types import Backend
from engine.workers import child
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Hello,
    Load,
    Loaded,
    Message,
    Progress,
    Shutdown,
    Started,
)
from tests.worker_client import Client, WorkerSilent, ask


class Stage:
    """Workers that play one script after another, with one place to count faults in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: list[Client] = []

    def write(self, *faults: dict[str, Any], **script: Any) -> Path:
        values = {
            "kind": "simulated",
            "load_seconds": 0.05,
            "tokens_per_second": 2000,
            "faults": faults,
            **script,
        }
        (self._folder / "simulated.json").write_text(json.dumps(values))
        return self._folder

    def worker(self) -> Client:
        client = Client(Backend.SIMULATED, self._folder / f"stderr-{len(self._clients)}")
        self._clients.append(client)
        return client

    def loaded(self, *faults: dict[str, Any], **script: Any) -> Client:
        client = self.worker()
        answer = client.load(self.write(*faults, **script), state_dir=str(self._folder / "state"))
        assert isinstance(answer, Loaded)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def fault(when: str, do: str, **values: Any) -> dict[str, Any]:
    return {"when": when, "do": do, **values}


DEATHS = [
    ("segv", -signal.SIGSEGV),
    ("abort", -signal.SIGABRT),
    ("kill", -signal.SIGKILL),
    ("exit", ABNORMAL_EXIT),
    ("torn_frame", ABNORMAL_EXIT),
]


@pytest.mark.parametrize(("do", "status"), DEATHS)
def test_it_dies_at_a_token(stage: Stage, do: str, status: int) -> None:
    client = stage.loaded(fault("token", do, after=3))
    client.send(ask("r", max_tokens=50))
    text = "".join(client.take(Delta).text for _ in range(3))
    assert text == "It works."
    assert client.end() == status
    assert client.torn == (do == "torn_frame")


def test_a_crash_leaves_its_evidence(stage: Stage) -> None:
    client = stage.loaded(fault("token", "abort"))
    client.send(ask("r"))
    client.end()
    assert "GGML_ASSERT(simulated) failed" in client.stderr()
    assert "in _advance" in client.stderr()  # where Python was


@pytest.mark.parametrize(("do", "status"), DEATHS[:2])
def test_it_dies_while_loading(stage: Stage, do: str, status: int) -> None:
    client = stage.worker()
    path = stage.write(fault("load", do, after=0.1), load_seconds=30)
    with pytest.raises(WorkerSilent):
        client.load(path)
    assert client.end() == status


@pytest.mark.parametrize(("do", "status"), DEATHS[:2])
def test_it_dies_in_its_canary_but_not_before(stage: Stage, do: str, status: int) -> None:
    client = stage.loaded(fault("canary", do, after=2))
    client.send(ask("user", max_tokens=2))
    client.finish("user")
    assert client.probe("tokenizer").ok
    client.send(ask("canary-decode"))
    assert client.end() == status


def test_it_dies_of_boredom(stage: Stage) -> None:
    client = stage.loaded(fault("idle", "segv", after=0.2))
    assert client.end() == -signal.SIGSEGV


def test_it_fires_as_often_as_it_shall_though_it_dies_of_it(stage: Stage) -> None:
    for _ in range(2):
        client = stage.loaded(fault("token", "kill", times=2))
        client.send(ask("r"))
        assert client.end() == -signal.SIGKILL
    client = stage.loaded(fault("token", "kill", times=2))
    client.send(ask("r"))
    assert isinstance(client.finish("r")[1], Finished)


def test_out_of_memory_while_loading_is_told(stage: Stage) -> None:
    client = stage.worker()
    failed = client.load(stage.write(fault("load", "oom")))
    assert isinstance(failed, Failed)
    assert failed.kind == "MemoryError"
    assert "failed to allocate" in client.stderr()


@pytest.mark.parametrize("when", ["token", "canary"])
def test_out_of_memory_later_tells_the_requests_and_ends(stage: Stage, when: str) -> None:
    client = stage.loaded(fault(when, "oom"))
    request_id = "r" if when == "token" else "canary-r"
    client.send(ask(request_id))
    end = client.finish(request_id)[1]
    assert isinstance(end, Failed)
    assert end.kind == "internal"
    assert client.end() == child.BROKEN
    assert "MemoryError" in client.stderr()


def test_a_hang_is_silent_and_deaf(stage: Stage) -> None:
    client = stage.loaded(fault("token", "hang", after=1))
    client.send(ask("r"))
    client.await_stderr("simulated: hangs")
    client.process.terminate()
    client.send(Shutdown())
    assert client.process.poll() is None
    client.process.kill()
    assert client.end() == -signal.SIGKILL


def test_ignored_orders_leave_it_working(stage: Stage) -> None:
    client = stage.loaded(fault("token", "ignore_term"))
    client.send(ask("a"))
    client.finish("a")
    client.process.terminate()
    client.send(ask("b"))
    assert isinstance(client.finish("b")[1], Finished)
    client.send(Shutdown())
    client.process.kill()
    assert client.end() == -signal.SIGKILL


def test_a_flood_of_stderr_does_not_stop_it(stage: Stage) -> None:
    client = stage.loaded(fault("token", "flood_stderr"))
    client.send(ask("r"))
    assert isinstance(client.finish("r")[1], Finished)
    assert client.stderr_path.stat().st_size > FLOOD_BYTES // 2


def test_broken_logits_fail_their_probe(stage: Stage) -> None:
    client = stage.loaded(fault("canary", "nan"))
    answer = client.probe("logits")
    assert not answer.ok
    assert answer.values["nonfinite"] > 0
    assert not client.probe("perplexity").ok


def test_garbage_is_one_text_over_and_over(stage: Stage) -> None:
    client = stage.loaded(fault("canary", "garbage"))
    client.send(ask("canary-decode", max_tokens=16))
    assert set(client.finish("canary-decode")[0]) == {"#"}
    assert client.probe("perplexity").values["perplexity"] > 1000


@pytest.mark.parametrize("when", ["canary", "load"])
def test_an_empty_answer_ends_at_once(stage: Stage, when: str) -> None:
    client = stage.loaded(fault(when, "empty"))
    client.send(ask("canary-decode"))
    text, end = client.finish("canary-decode")
    assert text == ""
    assert isinstance(end, Finished)
    assert end.completion_tokens == 0


def test_a_request_is_coloured_alone(stage: Stage) -> None:
    client = stage.loaded(fault("token", "garbage", after=1, times=1))
    client.send(ask("a", max_tokens=3))
    assert client.finish("a")[0] == "It##"
    client.send(ask("b", max_tokens=3))
    assert client.finish("b")[0] == "It works."


def test_a_healthy_model_passes_every_probe(stage: Stage) -> None:
    client = stage.loaded(backend_version="2.5", weights_gb=120)
    asked = (Message(role="user", content="hi"),)
    for name in ("tokenizer", "template", "logits", "perplexity", "render"):
        answer = client.probe(name, messages=asked)
        assert answer.ok, answer
    assert answer.text == "<user> hi\n<assistant>"


def test_its_load_takes_its_time_and_tells(stage: Stage) -> None:
    client = stage.worker()
    path = stage.write(load_seconds=0.3)
    client.take(Hello)
    client.send(Load(model_id="m", path=str(path), context=512))
    fractions: list[float] = []
    while not fractions or fractions[-1] < 1:
        fraction = client.take(Progress).fraction
        assert fraction is not None
        fractions.append(fraction)
    assert fractions == sorted(fractions)
    assert len(fractions) > 2


def test_stop_texts_hold_across_its_steps(stage: Stage) -> None:
    client = stage.loaded(say=["one", "two", "three"])
    client.send(ask("r", max_tokens=50, stop=("neth", "othr")))
    text, end = client.finish("r")
    assert text == "onetw"
    assert isinstance(end, Finished)
    assert end.reason == "stop"


def test_it_writes_as_its_script_says(stage: Stage) -> None:
    client = stage.worker()
    path = stage.write(tool_format="minimax_m2", say=["<think>", "hm</think>", "Yes."])
    loaded = client.load(path)
    assert isinstance(loaded, Loaded)
    assert (loaded.tool_format, loaded.thinking) == ("minimax_m2", ("<think>", "</think>"))
    request = ask("r", max_tokens=3)
    client.send(request)
    started = client.take(Started)
    assert (started.id, started.thinking) == ("r", False)
    text, end = client.finish("r")
    assert text == "<think>hm</think>Yes."
    assert isinstance(end, Finished)
    assert end.prompt_tokens == started.prompt_tokens > 0
    client.send(request.model_copy(update={"opening": "<think>"}))
    assert client.take(Started).thinking


def test_a_script_that_only_closes_its_thinking_begins_inside_it(stage: Stage) -> None:
    client = stage.worker()
    loaded = client.load(stage.write(say=["hm", "</think>", "Yes."]))
    assert isinstance(loaded, Loaded)
    assert loaded.thinking == ("<think>", "</think>")
    client.send(ask("r", max_tokens=3))
    assert client.take(Started).thinking


def test_a_plain_script_writes_no_calls_and_no_thoughts(stage: Stage) -> None:
    loaded = stage.worker().load(stage.write())
    assert isinstance(loaded, Loaded)
    assert (loaded.tool_format, loaded.thinking) == ("", None)


def test_chances_and_a_bias_are_answered_as_by_a_real_model(stage: Stage) -> None:
    client = stage.loaded()
    request = ask("r", max_tokens=3).model_copy(update={"logprobs": 2})
    client.send(request)
    chances = [one for _ in range(3) for one in client.take(Delta).chances]
    assert [one.text for one in chances] == ["It", " works", "."]
    assert {len(one.top) for one in chances} == {2}
    assert all(one.top[0].logprob == one.logprob > one.top[1].logprob for one in chances)
    client.take(Finished)
    client.send(ask("x", logit_bias={32_000: 1}))
    refused = client.take(Failed)
    assert (refused.kind, "logit_bias" in refused.message) == ("invalid", True)
