"""Every way a console ends: in order, with its workers, and with whole files."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.pty.conftest import Opener, Terminal, all_gone

Simulate = Callable[..., str]
ORPHAN_S = 2.0
"""How long a worker may outlive its console."""


def loaded(open_console: Opener, simulate: Simulate, **environment: str) -> Terminal:
    simulate("good", tokens_per_second=200)
    terminal = open_console(**environment)
    terminal.wait_for("good", "unloaded")
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_until(lambda s: "routable" in s, "routable")
    return terminal


def files_are_whole(home: Path) -> bool:
    rows = json.loads((home / "compatibility-registry.json").read_text())
    state = json.loads((home / "state.json").read_text())
    for line in (home / "events.jsonl").read_text().splitlines():
        json.loads(line)
    return len(rows) == 1 and not state["intents"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(
    number: signal.Signals, open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    terminal = loaded(open_console, simulate, LMX_ON_HANGUP="stop")
    workers = terminal.workers()
    assert len(workers) == 1
    os.kill(terminal.process.pid, number)
    assert terminal.wait_for_end() == 0
    assert all_gone(workers, ORPHAN_S)
    assert files_are_whole(tmp_path / "home")


def test_closing_the_window_ends_it_and_its_workers_where_that_is_wished(
    open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    terminal = loaded(open_console, simulate, LMX_ON_HANGUP="stop")
    workers = terminal.workers()
    terminal.hang_up()
    terminal.wait_for_end()
    assert all_gone(workers, ORPHAN_S)
    assert files_are_whole(tmp_path / "home")


def test_a_killed_console_leaves_no_worker_and_the_next_one_says_so(
    open_console: Opener, simulate: Simulate
) -> None:
    terminal = loaded(open_console, simulate)
    workers = terminal.workers()
    terminal.console().kill()
    assert terminal.wait_for_end() == 128 + signal.SIGKILL
    assert "the console was ended by SIGKILL" in terminal.text
    assert all_gone(workers, ORPHAN_S)
    again = open_console()
    again.wait_for("good", "unloaded")
    again.send("L")
    again.wait_for("ended without unloading")


def test_a_killed_launcher_takes_the_console_along_in_order(
    open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    terminal = loaded(open_console, simulate)
    processes = [terminal.console(), *terminal.workers()]
    terminal.process.kill()
    assert all_gone(processes, 10.0)
    assert files_are_whole(tmp_path / "home")


def test_q_asks_when_a_model_is_routable(open_console: Opener, simulate: Simulate) -> None:
    terminal = loaded(open_console, simulate)
    terminal.send("q")
    terminal.wait_for("Stop the engine and leave?", "good")
    terminal.send("\x1b")
    terminal.wait_until(lambda s: "Stop the engine" not in s, "the dialog gone")
    assert terminal.process.poll() is None


def test_q_ends_at_once_when_nothing_is_routable(open_console: Opener, simulate: Simulate) -> None:
    simulate("good")
    terminal = open_console()
    terminal.wait_for("good", "unloaded")
    terminal.send("q")
    assert terminal.wait_for_end() == 0


def test_a_second_console_attaches_and_its_end_stops_nothing(
    open_console: Opener, simulate: Simulate
) -> None:
    first = loaded(open_console, simulate)
    second = open_console(size=(80, 24))
    second.wait_for("attached to 127.0.0.1:", "good", "routable")
    second.send("h")
    second.wait_for("Hold good?")
    time.sleep(0.7)  # a dialog takes keys typed ahead for what they are
    second.send("\t\r")
    first.wait_for("quarantined", "@local@api:127")
    second.wait_for("held")
    second.send("q")
    assert second.wait_for_end() == 0
    assert first.process.poll() is None
    first.send("L")
    first.wait_for("held", "@local@api:127")


def test_without_an_api_there_is_nothing_to_attach_to_and_nothing_is_touched(
    open_console: Opener, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good")
    first = open_console("--no-api")
    first.wait_for("good", "unloaded")
    home = tmp_path / "home"
    before = {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()}
    second = open_console()
    assert second.wait_for_end() == 1
    shown = " ".join(second.text.split())
    assert f"process {first.console().pid}" in shown
    assert "since" in shown
    assert "has no API" in shown
    assert before == {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("term", "why"), [("dumb", "dumb"), ("", "dumb")])
def test_a_dumb_terminal_gets_a_sentence(term: str, why: str, open_console: Opener) -> None:
    terminal = open_console(TERM=term)
    assert terminal.wait_for_end() == 2
    assert why in terminal.text
    assert "Traceback" not in terminal.text


def test_a_home_that_cannot_be_one_gets_a_sentence(open_console: Opener, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    terminal = open_console(LMX_HOME=str(tmp_path / "file"))
    assert terminal.wait_for_end() == 1
    assert "LMX_HOME" in "".join(terminal.text.split())  # a long path may break the name
    assert "Traceback" not in terminal.text
