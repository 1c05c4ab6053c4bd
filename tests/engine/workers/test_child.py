"""The child's side of a worker, driven over its socket with the simulated backend."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.types import Backend
from engine.workers import child
from engine.workers.protocol import (
    MAX_FRAME,
    PROTOCOL,
    Cancel,
    Delta,
    Failed,
    Finished,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    Progress,
    Shutdown,
    Stats,
)
from tests.worker_client import PATIENCE_S, ROOT, Client, ask, command, environment


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    worker = Client(Backend.SIMULATED, tmp_path / "stderr")
    yield worker
    worker.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


def write_model(folder: Path, **script: Any) -> Path:
    values = {"kind": "simulated", "load_seconds": 0, "tokens_per_second": 1000, **script}
    target = folder / "model"
    target.mkdir(exist_ok=True)
    (target / "simulated.json").write_text(json.dumps(values))
    return target


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it; a zombie counts as ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_it_greets_loads_answers_and_stops(client: Client, model: Path) -> None:
    hello = client.take(Hello)
    assert (hello.protocol, hello.pid) == (PROTOCOL, client.process.pid)
    assert hello.backend is Backend.SIMULATED
    client.send(Load(model_id="m", path=str(model), context=512))
    progress = client.take(Progress)
    assert progress.id is None
    loaded = client.take(Loaded)
    assert (loaded.context, loaded.backend_version) == (512, "simulated 1.0")
    client.send(ask("r", max_tokens=4))
    text, end = client.finish("r")
    assert text == "It works.It"
    assert isinstance(end, Finished)
    assert (end.reason, end.completion_tokens) == ("length", 4)
    client.send(Shutdown())
    assert client.end() == child.STOPPED
    assert not client.torn


def test_an_idle_worker_beats_and_tells_its_memory_once(client: Client, tmp_path: Path) -> None:
    client.load(write_model(tmp_path, weights_gb=7))
    client.take(Heartbeat)
    stats = client.take(Stats)
    assert (stats.memory_bytes, stats.active) == (7_000_000_000, 0)
    client.take(Heartbeat)
    client.take(Heartbeat)
    assert not any(isinstance(frame, Stats) for frame in client.frames)


def test_a_busy_worker_beats(client: Client, tmp_path: Path) -> None:
    client.load(write_model(tmp_path, tokens_per_second=20))
    client.send(ask("r", max_tokens=1000))
    client.take(Delta)
    assert client.take(Heartbeat).active == 1


def test_a_cancelled_request_ends_and_frees_its_slot(client: Client, tmp_path: Path) -> None:
    client.load(write_model(tmp_path, tokens_per_second=2), slots=1)
    client.send(ask("long", max_tokens=1000), ask("next", max_tokens=1))
    client.take(Delta)
    client.send(Cancel(id="long"))
    end = client.take(Finished)
    assert (end.id, end.reason) == ("long", "cancelled")
    assert isinstance(client.finish("next")[1], Finished)


def test_unknown_and_waiting_requests_can_be_cancelled(client: Client, tmp_path: Path) -> None:
    client.load(write_model(tmp_path), slots=1)
    client.send(Cancel(id="never"), ask("a", max_tokens=200), ask("b", max_tokens=200))
    client.send(Cancel(id="b"))
    end = client.take(Finished, lambda finished: finished.id == "b")
    assert (end.reason, end.completion_tokens) == ("cancelled", 0)


def test_requests_share_the_worker(client: Client, model: Path) -> None:
    client.load(model, slots=2)
    client.send(*(ask(f"r{n}", max_tokens=20) for n in range(5)))
    ends = {client.take(Finished).id for _ in range(5)}
    assert ends == {f"r{n}" for n in range(5)}


def test_a_refused_request_harms_nobody(client: Client, model: Path) -> None:
    client.load(model, context=8)
    client.send(ask("long", "word " * 50))
    failed = client.take(Failed)
    assert (failed.id, failed.kind) == ("long", "context")
    client.send(ask("short", "hi"))
    assert isinstance(client.finish("short")[1], Finished)


def test_a_failed_load_is_told_and_the_worker_waits(client: Client, tmp_path: Path) -> None:
    failed = client.load(tmp_path / "nothing")
    assert isinstance(failed, Failed)
    assert (failed.id, failed.kind) == (None, "LoadError")
    client.take(Heartbeat)
    client.send(ask("r"))
    assert client.take(Failed).kind == "invalid"
    client.send(Shutdown())
    assert client.end() == child.STOPPED


@pytest.mark.parametrize("loaded", [False, True])
def test_it_ends_when_its_socket_closes(client: Client, model: Path, loaded: bool) -> None:
    if loaded:
        client.load(model)
        client.send(ask("r", max_tokens=100_000))
        client.take(Delta)
    client.socket.close()
    assert client.process.wait(PATIENCE_S) == child.ORPHANED


def test_it_ends_when_its_socket_closes_though_the_backend_hangs(
    client: Client, tmp_path: Path
) -> None:
    hang = {"when": "token", "after": 1, "do": "hang"}
    client.load(write_model(tmp_path, faults=[hang]))
    client.send(ask("r"))
    client.take(Delta)
    client.socket.close()
    assert client.process.wait(PATIENCE_S) == child.ORPHANED


def test_it_ends_though_the_parent_never_reads(client: Client, model: Path) -> None:
    client.load(model)
    client.send(*(ask(f"r{n}", max_tokens=100_000) for n in range(4)))
    client.take(Delta)
    client.socket.shutdown(socket.SHUT_RDWR)
    client.socket.close()
    assert client.process.wait(PATIENCE_S) == child.ORPHANED


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(struct.pack(">I", MAX_FRAME + 1), id="too long"),
        pytest.param(struct.pack(">I", 2) + b"{}", id="no type"),
        pytest.param(struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc", id="not JSON"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
    ],
)
def test_a_garbled_frame_ends_it(client: Client, garbage: bytes) -> None:
    client.take(Hello)
    client.socket.sendall(garbage)
    assert client.end() == child.GARBLED


def test_a_second_load_ends_it(client: Client, model: Path) -> None:
    client.load(model)
    client.send(Load(model_id="m", path=str(model), context=512))
    assert client.end() == child.GARBLED


@pytest.mark.parametrize(
    ("number", "alive"),
    [(signal.SIGTERM, False), (signal.SIGINT, True)],
)
def test_term_ends_it_and_ctrl_c_does_not(
    client: Client, number: signal.Signals, alive: bool
) -> None:
    client.take(Hello)
    client.process.send_signal(number)
    if alive:
        client.take(Heartbeat)
        client.send(Shutdown())
    assert client.end() == (child.STOPPED if alive else -number)


def test_what_is_printed_on_stdout_becomes_evidence(client: Client, model: Path) -> None:
    client.load(model)
    # The worker's own descriptor 1, written as a native library would.
    descriptor = os.open(f"/proc/{client.process.pid}/fd/1", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"printf from a native library\n")
    os.close(descriptor)
    client.send(ask("r"))
    assert isinstance(client.finish("r")[1], Finished)
    client.send(Shutdown())
    assert client.end() == child.STOPPED
    assert client.process.stdout is not None
    assert client.process.stdout.read() == b""
    assert "printf from a native library" in client.stderr()


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_it_dies_with_a_killed_parent_that_cannot_close_anything(tmp_path: Path) -> None:
    # The socket's other end lives on in this process, so only the parent's death can end it.
    ours, theirs = socket.socketpair()
    template = command(Backend.SIMULATED, theirs.fileno(), 0)
    middle = (
        "import os, subprocess, sys, time\n"
        f"command = {template[:-1]!r} + [str(os.getpid())]\n"
        f"worker = subprocess.Popen(command, pass_fds=({theirs.fileno()},))\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", middle],
        stdout=subprocess.PIPE,
        pass_fds=(theirs.fileno(),),
        env=environment(),
        cwd=ROOT,
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert ours.recv(4096)  # its Hello: it is past its start
        parent.send_signal(signal.SIGKILL)
        parent.wait(PATIENCE_S)
        assert gone(pid)
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()
        ours.close()
        theirs.close()


def test_it_refuses_to_serve_a_parent_that_is_gone(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        orphan = subprocess.run(
            command(Backend.SIMULATED, theirs.fileno(), 1 if os.getpid() != 1 else 2),
            pass_fds=(theirs.fileno(),),
            env=environment(),
            timeout=PATIENCE_S,
            check=False,
        )
    assert orphan.returncode == child.ORPHANED


def test_it_writes_no_core(client: Client) -> None:
    client.take(Hello)
    limits = Path(f"/proc/{client.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] in ("0", "1")


def test_an_interpreter_without_the_backend_says_so(tmp_path: Path) -> None:
    # A folder that shadows the backend's package stands for an environment that lacks it.
    shadow = tmp_path / "llama_cpp"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise ImportError('no llama_cpp here')")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = subprocess.run(
            command(Backend.GGUF, theirs.fileno(), os.getpid()),
            pass_fds=(theirs.fileno(),),
            env=environment() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    assert ended.returncode == child.NO_BACKEND
    assert b"no llama_cpp here" in ended.stderr
