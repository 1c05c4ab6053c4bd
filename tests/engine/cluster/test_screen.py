"""The real console in a terminal, as a member of a real Ray cluster."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.pty.conftest import Terminal, surroundings
from tests.engine.cluster.conftest import Rack

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture
def terminal(rack: Rack, tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "models").mkdir()
    opened = Terminal(surroundings(tmp_path), (120, 36), ["--cluster", rack.cluster.address])
    yield opened
    opened.close()


def test_it_joins_under_a_screen_and_ray_says_nothing_on_it(terminal: Terminal) -> None:
    """Ray wants standard error to be a file, takes SIGTERM for itself, and prints."""
    terminal.wait_for("has joined with")
    terminal.console().send_signal(signal.SIGTERM)
    terminal.wait_for_end()
    for noise in (b"SIGTERM received", b"raylet", b"SIGTERM handler", b"Traceback"):
        assert noise not in terminal.received
