"""The demo in a real terminal: however it ends, its folder and its workers go with it."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.console.pty.conftest import Opener, Terminal, all_gone

ORPHAN_S = 2.0


def playing(open_console: Opener, below: Path, size: tuple[int, int]) -> Terminal:
    """A demo that has one worker alive, and its folder below ``below``."""
    below.mkdir()
    terminal = open_console("demo", "--pace", "30", size=size, TMPDIR=str(below))
    terminal.wait_for("The real console on a temporary home")
    terminal.wait_until(lambda s: "● MiniMax" in s, "a routable model")
    terminal.send(" ")
    terminal.wait_for("PAUSED")
    assert len(list(below.iterdir())) == 1
    return terminal


def ended(terminal: Terminal, workers: list[psutil.Process], below: Path) -> None:
    assert all_gone(workers, ORPHAN_S)
    assert list(below.iterdir()) == []
    assert "Traceback" not in terminal.text


def test_ctrl_q_ends_it_at_once(open_console: Opener, tmp_path: Path) -> None:
    terminal = playing(open_console, tmp_path / "tmp", (80, 24))
    workers = terminal.workers()
    assert workers
    terminal.send("\x11")
    assert terminal.wait_for_end() == 0
    ended(terminal, workers, tmp_path / "tmp")


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals, open_console: Opener, tmp_path: Path) -> None:
    terminal = playing(open_console, tmp_path / "tmp", (120, 36))
    workers = terminal.workers()
    os.kill(terminal.process.pid, number)
    assert terminal.wait_for_end() == 0
    ended(terminal, workers, tmp_path / "tmp")


def test_closing_the_window_ends_it(open_console: Opener, tmp_path: Path) -> None:
    terminal = playing(open_console, tmp_path / "tmp", (120, 36))
    workers = terminal.workers()
    terminal.hang_up()
    terminal.wait_for_end()
    assert all_gone(workers, ORPHAN_S)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_a_terminal_it_says_so(open_console: Opener, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    terminal = open_console("demo", TERM="dumb", TMPDIR=str(tmp_path / "tmp"))
    assert terminal.wait_for_end() == 2
    assert "terminal" in terminal.text
    assert list((tmp_path / "tmp").iterdir()) == []
