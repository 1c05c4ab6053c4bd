"""The screen goes, the engine stays: by a key, by a hang-up, and what the next console finds."""

import http.client
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.console.pty.conftest import (
    Opener,
    Terminal,
    all_gone,
    engine_of,
    gone,
    surroundings,
)

Simulate = Callable[..., str]
LONG = ["word "] * 400


def address_of(tmp_path: Path) -> tuple[str, int]:
    about = json.loads((tmp_path / "home" / "engine.json").read_text())
    host, _, port = about["address"].rpartition(":")
    return host, int(port)


def load(terminal: Terminal) -> None:
    terminal.wait_for("good", "unloaded")
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_until(lambda s: "routable" in s and "api :" in s, "routable")


class Listener:
    """A client in the middle of an answer."""

    def __init__(self, tmp_path: Path) -> None:
        self.words = 0
        self.whole = False
        self._client = http.client.HTTPConnection(*address_of(tmp_path), timeout=60)
        body: dict[str, object] = {"model": "good", "stream": True, "max_tokens": 300}
        body["messages"] = [{"role": "user", "content": "x"}]
        self._client.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        self._answer = self._client.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._answer:
            self.words += b"word" in line
            self.whole |= b"[DONE]" in line

    def begun(self) -> None:
        deadline = time.monotonic() + 30
        while self.words < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.words >= 5

    def end(self) -> None:
        self._thread.join(60)
        assert self.whole
        assert self.words == 300


@pytest.mark.parametrize("how", ["window", "signal"])
def test_a_hang_up_in_the_middle_of_a_stream_loses_nothing_and_the_next_console_attaches(
    how: str, open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good", tokens_per_second=100, say=LONG)
    terminal = open_console()
    load(terminal)
    engine, workers = terminal.console(), terminal.workers()
    listener = Listener(tmp_path)
    listener.begun()
    if how == "window":
        terminal.hang_up()
    else:
        os.kill(terminal.process.pid, signal.SIGHUP)
    assert terminal.wait_for_end() in (0, 128 + signal.SIGHUP, -signal.SIGHUP)
    assert not gone(engine)
    listener.end()
    assert not any(gone(worker) for worker in workers)
    again = open_console()
    again.wait_for("attached to 127.0.0.1:", "good", "routable")
    again.send("L")
    again.wait_for("the screen went, its terminal is gone")
    again.send("\x1bq")
    assert again.wait_for_end() == 0
    assert not gone(engine)
    engine.send_signal(signal.SIGTERM)
    assert all_gone([engine, *workers], 20.0)
    assert not (tmp_path / "home" / "engine.json").exists()


def test_detached_by_key_the_shell_has_its_prompt_and_lmx_comes_back(
    open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good", tokens_per_second=200)
    shell = Terminal(
        surroundings(tmp_path) | {"PS1": "PROMPT> ", "PYTHONPATH": str(Path.cwd())},
        (120, 36),
        ["--norc", "--noprofile", "-i"],
        command=("bash",),
    )
    try:
        lmx = f"{shlex.quote(sys.executable)} -m console"
        shell.wait_for("PROMPT>")
        shell.send(f"{lmx}\n")
        load(shell)
        os.kill(psutil.Process(shell.process.pid).children()[0].pid, signal.SIGTSTP)
        shell.wait_for("PROMPT>", "Stopped")
        shell.send("fg\n")
        shell.wait_for("routable", "Canary")
        shell.resize(100, 30)
        shell.send("q")
        shell.wait_for("Stop the engine and leave?", "Detach (d)")
        time.sleep(0.7)  # a dialog takes keys typed ahead for what they are
        shell.send("d")
        shell.wait_for("lmx: detached; the engine goes on", "`lmx stop` ends it", "PROMPT>")
        engine = psutil.Process(engine_of(tmp_path) or 0)
        assert engine.terminal() is None or os.getsid(engine.pid) == engine.pid
        shell.send("clear; echo status $?\n")
        shell.wait_for("status 0", "PROMPT>")
        shell.send(f"{lmx}\n")
        shell.wait_for("attached to 127.0.0.1:", "routable")
        shell.send("q")
        shell.wait_for("PROMPT>")
        shell.send(f"clear; {lmx} stop --now; echo status $?\n")
        shell.wait_for("has ended", "status 0")
        assert all_gone([engine], 10.0)
    finally:
        shell.close()


def test_a_line_gone_dead_without_a_word_holds_up_no_stream_and_is_painted_anew(
    open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good", tokens_per_second=100, say=LONG)
    terminal = open_console()
    load(terminal)
    terminal.frozen = True
    for size in range(40):  # each is a whole screen, more than any buffer on the way holds
        terminal.resize(120 + size % 2, 36)
        time.sleep(0.05)
    listener = Listener(tmp_path)
    listener.begun()
    listener.end()
    terminal.frozen = False
    terminal.resize(110, 34)
    terminal.wait_for("good", "routable", "q quit")
    terminal.send("i")
    terminal.wait_for("no request is in flight")
