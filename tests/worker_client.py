"""A parent in miniature: drives one real worker over its socket, for tests of the child's side."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from engine.types import Backend
from engine.workers.protocol import (
    Decoder,
    Delta,
    Failed,
    Finished,
    FromWorker,
    Generate,
    Hello,
    Load,
    Loaded,
    Message,
    Probe,
    Probed,
    Sampling,
    ToWorker,
    encode,
    parse_from_worker,
)

PATIENCE_S = 60.0
"""Longest wait for anything: reached only by a test that fails."""
ROOT = Path(__file__).parent.parent
F = TypeVar("F", bound=FromWorker)


class WorkerSilent(AssertionError):
    """The awaited frame never came."""


class Client:
    """One worker process and what it said."""

    def __init__(self, backend: Backend, stderr: Path) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.stderr_path = stderr
        with stderr.open("wb") as sink:
            self.process = subprocess.Popen(
                command(backend, theirs.fileno(), os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env=environment(),
            )
        theirs.close()
        self._decoder = Decoder()
        self.frames: list[FromWorker] = []
        """Everything received that nobody has taken yet."""
        self.torn = False

    def send(self, *frames: ToWorker) -> None:
        """Send frames in one write."""
        self.socket.sendall(b"".join(encode(frame) for frame in frames))

    def take(self, kind: type[F], accept: Callable[[F], bool] = lambda _: True) -> F:
        """The next frame of a kind; frames before it are dropped."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if isinstance(frame, kind) and accept(frame):
                    return frame
            if not self._receive(deadline):
                raise WorkerSilent(f"no {kind}; stderr: {self.stderr()[-2000:]}")

    def _receive(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self.socket], [], [], left)[0]:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.torn = self._decoder.torn and not data
        self.frames.extend(parse_from_worker(body) for body in self._decoder.feed(data))
        return bool(data)

    def load(self, path: Path, **values: Any) -> Loaded | Failed:
        """Wait for the greeting, load a model, wait for the answer."""
        self.take(Hello)
        frame = {"model_id": "m", "path": str(path), "context": 2048, **values}
        self.send(Load.model_validate(frame))
        answer = self.take(Loaded | Failed)  # type: ignore[arg-type]
        assert isinstance(answer, Loaded | Failed)
        return answer

    def finish(self, request_id: str) -> tuple[str, Finished | Failed]:
        """All text of a request to its end; frames of others are dropped."""
        text = ""
        while True:
            frame = self.take(Delta | Finished | Failed)  # type: ignore[arg-type]
            if isinstance(frame, Delta) and frame.id == request_id:
                text += frame.text
            elif isinstance(frame, Finished | Failed) and frame.id == request_id:
                return text, frame

    def probe(self, name: str, text: str = "some words to look at", **values: Any) -> Probed:
        """Ask a canary question."""
        frame = {"id": f"canary-{name}", "name": name, "text": text, **values}
        self.send(Probe.model_validate(frame))
        return self.take(Probed)

    def end(self) -> int:
        """Read to the end of the socket; the exit status, or minus the signal's number."""
        deadline = time.monotonic() + PATIENCE_S
        while self._receive(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def stderr(self) -> str:
        """What the worker printed."""
        return self.stderr_path.read_bytes().decode("utf-8", "backslashreplace")

    def await_stderr(self, line: str) -> None:
        """Wait until the worker has printed this."""
        deadline = time.monotonic() + PATIENCE_S
        while line not in self.stderr():
            assert time.monotonic() < deadline, f"never printed {line!r}"
            time.sleep(0.01)

    def close(self) -> None:
        """Kill whatever is left."""
        self.socket.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def command(backend: Backend, descriptor: int, parent: int) -> list[str]:
    """The command line of a worker, as the engine builds it."""
    module = ["-P", "-m", "engine.workers.child", "--backend", backend.value]
    return [sys.executable, *module, "--fd", str(descriptor), "--parent", str(parent)]


def environment() -> dict[str, str]:
    """What a worker needs of the environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)}


def ask(request_id: str, text: str = "one two three", **sampling: Any) -> Generate:
    """A greedy chat request of one message."""
    return Generate(
        id=request_id,
        messages=(Message(role="user", content=text),),
        sampling=Sampling.model_validate({"temperature": 0, "max_tokens": 8, **sampling}),
    )
