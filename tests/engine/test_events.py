"""The event log: one sequence, whatever happens to its files."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.events import EventLog

ROOT = Path(__file__).parents[2]


def clock() -> float:
    return 1_790_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_an_event_is_on_disk_at_once_clean_and_on_one_line(path: Path) -> None:
    log = EventLog(path, clock)
    event = log.add(
        "model_quarantined", "x\n\x1b[2J", model_id="m\n", actor="me", level="error",
        data={"nan": float("nan"), "path": Path("/x")},
    )  # fmt: skip
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["message"] == "x ␛[2J"
    assert event.data == {"nan": "nan", "path": "/x"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert EventLog(path, clock).latest(1) == (event,)


def test_after_and_latest(path: Path) -> None:
    log = EventLog(path, clock, keep=3)
    for number in range(5):
        log.add("ticked", str(number))
    assert [e.seq for e in log.after(0)] == [3, 4, 5]
    assert [e.seq for e in log.after(4)] == [5]
    assert log.after(5) == ()
    assert [e.seq for e in log.latest(2)] == [4, 5]
    assert log.latest(0) == ()


def test_the_sequence_goes_on_over_restarts_and_rotation(path: Path) -> None:
    for number in range(40):
        log = EventLog(path, clock, keep=10, file_limit=1000)
        assert log.add("ticked", "x" * 100).seq == number + 1
        assert len(log.latest(99)) == min(number + 1, 10)
        log.close()
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == [path.name, *(f"{path.name}.{n}" for n in range(1, 5))]
    assert all(file.stat().st_size <= 1000 for file in path.parent.iterdir())
    kept = [seq for name in reversed(names) for seq in seqs(path.parent / name)]
    assert kept == list(range(kept[0], 41))
    newest = seqs(path)
    path.unlink()
    assert EventLog(path, clock).add("ticked", "").seq == newest[0]


def test_a_torn_last_line_is_left_alone(path: Path) -> None:
    log = EventLog(path, clock)
    log.add("one", "")
    log.add("two", "")
    log.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        log = EventLog(path, clock)
        last = 2 if cut == len(whole) - 1 else 1
        assert [e.seq for e in log.latest(9)] == list(range(1, last + 1))
        log.add("three", "")
        log.close()
        assert [e.kind for e in EventLog(path, clock).latest(1)] == ["three"]


def test_a_kill_loses_no_event(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from engine.events import EventLog\n"
        "log = EventLog(Path(sys.argv[1]), time.time)\n"
        "while True: print(log.add('ticked', 'x' * 500).seq, flush=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(50)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().splitlines()
    child.wait()
    child.stdout.close()
    log = EventLog(path, clock, keep=100_000)
    assert {e.seq for e in log.latest(100_000)} >= {int(line) for line in told if line.strip()}


def full_disk(path: Path) -> None:
    """Runs in a child, whose files then cannot grow."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = EventLog(path, clock)
    log.add("one", "")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    for kind in ("two", "three"):
        log.add(kind, "", level="error")
        assert log.trouble is not None
        assert seqs(path) == [1]
    assert [e.seq for e in log.after(0)] == [1, 2, 3]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.add("four", "")
    assert log.trouble is None
    assert seqs(path) == [1, 2, 3, 4]


def test_a_full_disk_is_told_and_nothing_is_forgotten(path: Path) -> None:
    command = (
        "import sys, importlib.util as u; from pathlib import Path;"
        "s = u.spec_from_file_location('t', sys.argv[1]); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); m.full_disk(Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, __file__, str(path)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_folder_in_its_place_is_trouble_and_nothing_more(path: Path) -> None:
    path.mkdir()
    log = EventLog(path, clock)
    log.add("one", "")
    assert log.trouble is not None
    assert [e.seq for e in log.after(0)] == [1]
