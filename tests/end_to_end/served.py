"""A real ``lmx serve`` process on a home and a port of its own, asked over HTTP."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.process import workers_below

PATIENCE_S = 60.0


class Served:
    """One ``lmx serve``."""

    def __init__(self, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
        self.environment = environment
        self.said: list[str] = []
        self.port = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "console", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    @property
    def words(self) -> str:
        """Everything it said so far."""
        return "\n".join(self.said)

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Wait until it says something; fails with what it said instead."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            if found := re.search(pattern, self.words):
                return found
            if ended:
                break
            time.sleep(0.02)
        pytest.fail(f"never said {pattern!r}, but:\n{self.words}")

    def ready(self) -> "Served":
        """Wait until it serves."""
        self.port = int(self.wait_for(r"serving at http://127\.0\.0\.1:(\d+)")[1])
        return self

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request: the status and the JSON of the answer."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            data = None if body is None else json.dumps(body)
            client.request(method, path, data, {"Content-Type": "application/json"})
            answer = client.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            client.close()

    def load(self, model_id: str) -> None:
        """Load a model and wait until it is routable."""
        status, body = self.ask("POST", "/admin/models/load", {"model_id": model_id})
        assert status == 200, body

    def workers(self) -> list[psutil.Process]:
        """The worker processes under it."""
        return workers_below(psutil.Process(self.process.pid))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait_for_end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait until it has ended; returns its status."""
        try:
            status = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running:\n{self.words}")
        self._reader.join()
        return status

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """What such a process sees: a home of the test's own and simulated models only."""
    for name in ("models", "none"):
        (tmp_path / name).mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "LMX_HOME": str(tmp_path / "home"),
        "LMX_FOLDERS": json.dumps([str(tmp_path / "models")]),
        "LMX_LMSTUDIO": str(tmp_path / "none"),
        "LMX_STARTER": "false",
        "LMX_SPARE": "false",
        "LMX_QUARANTINING__BACKOFF_S": "[0.05, 0.05, 0.05]",
        "HF_HUB_CACHE": str(tmp_path / "none"),
    } | more
