"""The operator's command is told what it asked for, and can delay or break nothing."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.announcer import WAITING, Announcer
from engine.settings import Settings, SettingsError, load_settings
from engine.types import Event
from tests.process import ended

PATIENCE_S = 20.0
Announce = Callable[..., Announcer]


def event(kind: str = "model_quarantined", seq: int = 1) -> Event:
    return Event(seq, 1.0, kind, "three strikes", "org/m", "engine", "error", {"a": [1, "ü"]})


def until(holds: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, "never came"
        time.sleep(0.005)


@pytest.fixture
def announce(tmp_path: Path) -> Iterator[Announce]:
    made: list[Announcer] = []

    def make(script: str, *, timeout_s: float = 20.0, **settings: object) -> Announcer:
        path = tmp_path / "command.py"
        path.write_text(script)
        command = f"{sys.executable} -S {path} {tmp_path / 'out'}"
        chosen = Settings(home=tmp_path, on_event=command, **settings)  # type: ignore[arg-type]
        environment = dict(os.environ) | {"LMX_SECRET": "hidden", "HF_TOKEN": "hidden"}
        made.append(Announcer(chosen, "host", timeout_s=timeout_s, environment=environment))
        return made[-1]

    yield make
    for announcer in made:
        announcer.close()


KEEP = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def test_it_is_told_the_kinds_it_asked_for_in_order(announce: Announce, tmp_path: Path) -> None:
    announcer = announce(KEEP)
    for seq, kind in enumerate(["model_loaded", "model_quarantined", "unclean_end"]):
        announcer.offer(event(kind, seq))
    out = tmp_path / "out"
    until(lambda: out.exists() and out.read_text().count("\n") == 2)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [t["kind"] for t in told] == ["model_quarantined", "unclean_end"]
    assert told[0]["model_id"] == "org/m"
    assert told[0]["data"] == {"a": [1, "ü"]}
    assert told[0]["host"] == "host"
    assert announcer.trouble is None


def test_a_star_is_every_kind(announce: Announce, tmp_path: Path) -> None:
    announce(KEEP, on_event_kinds=("*",)).offer(event("model_loaded"))
    until((tmp_path / "out").exists)


def test_its_environment_holds_no_secret(announce: Announce, tmp_path: Path) -> None:
    announce("import os, sys; open(sys.argv[1], 'w').write(str(dict(os.environ)))").offer(event())
    until(lambda: (tmp_path / "out").exists() and (tmp_path / "out").read_text().endswith("}"))
    assert "hidden" not in (tmp_path / "out").read_text()
    assert "PATH" in (tmp_path / "out").read_text()


def test_a_failure_is_said_once_and_forgotten_with_the_next_success(
    announce: Announce, tmp_path: Path
) -> None:
    once = (
        "import os, sys\n"
        "if not os.path.exists(sys.argv[1]):\n"
        "    open(sys.argv[1], 'w').close()\n"
        "    sys.exit('no route\\x1b[2J')\n"
    )
    announcer = announce(once)
    announcer.offer(event())
    until(lambda: announcer.trouble)
    assert announcer.trouble is not None
    assert "status 1" in announcer.trouble
    assert "no route" in announcer.trouble
    assert "\x1b" not in announcer.trouble
    announcer.offer(event())
    until(lambda: announcer.trouble is None)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    announcer = Announcer(Settings(home=tmp_path, on_event="/no/such/command"), "host")
    announcer.offer(event())
    until(lambda: announcer.trouble and "did not start" in announcer.trouble)
    announcer.close()


SLEEPS = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
    "open(sys.argv[1] + '.new', 'w').write(str(child.pid))\n"
    "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
    "time.sleep(600)\n"
)


def test_one_that_hangs_is_killed_with_all_it_started(announce: Announce, tmp_path: Path) -> None:
    announcer = announce(SLEEPS, timeout_s=2.0)
    announcer.offer(event())
    until(lambda: announcer.trouble and "was killed" in announcer.trouble)
    until(lambda: ended(int((tmp_path / "out").read_text())))


def test_the_engines_end_waits_a_moment_only(announce: Announce, tmp_path: Path) -> None:
    announcer = announce(SLEEPS, timeout_s=600.0)
    for seq in range(5):
        announcer.offer(event(seq=seq))
    until((tmp_path / "out").exists)
    announcer.close()
    until(lambda: ended(int((tmp_path / "out").read_text())))
    announcer.offer(event())


def test_more_than_can_wait_is_counted_and_delays_nobody(
    announce: Announce, tmp_path: Path
) -> None:
    announcer = announce(SLEEPS, timeout_s=600.0)
    announcer.offer(event())
    until((tmp_path / "out").exists)
    for seq in range(WAITING + 3):
        announcer.offer(event(seq=seq))
    assert announcer.trouble is not None
    assert "3 events were not told" in announcer.trouble


def test_without_a_command_nothing_is_started(tmp_path: Path) -> None:
    announcer = Announcer(Settings(home=tmp_path), "host")
    announcer.offer(event())
    announcer.close()
    assert announcer.trouble is None


@pytest.mark.parametrize("command", ["", "  ", "'unclosed"])
def test_a_command_nobody_can_run_is_refused_at_the_start(tmp_path: Path, command: str) -> None:
    with pytest.raises(SettingsError, match="on_event"):
        load_settings(home=tmp_path, on_event=command)
