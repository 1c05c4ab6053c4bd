"""The ledger loses no acknowledged record: not to a cut, a kill, a full disk or a neighbour."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.registry import Registry, RegistryTrouble
from engine.types import Backend, Key, RegistryRow
from tests.effort import examples

ROOT = Path(__file__).parents[2]
FIELDS = ["ts", "model_id", "backend", "backend_version", "outcome", "reason", "metadata"]


def clock() -> float:
    return 1_790_000_000.0


def row(number: int = 0, **changes: Any) -> RegistryRow:
    values: dict[str, Any] = {
        "ts": 1_790_000_000.25 + number,
        "model_id": f"org/m{number}",
        "backend": "gguf",
        "backend_version": "llama.cpp 0.3.36",
        "outcome": "pass",
        "reason": f"canary 9/9 [{number}]",
        "metadata": {"event": "canary", "fingerprint": f"f{number}"},
    }
    return RegistryRow(**{**values, **changes})


def event(kind: str, fingerprint: str = "f0", **more: object) -> dict[str, object]:
    return {"event": kind, "fingerprint": fingerprint, **more}


def key(fingerprint: str = "f0", version: str = "llama.cpp 0.3.36") -> Key:
    return Key(fingerprint, Backend.GGUF, version)


def ids(path: Path) -> list[str]:
    return [record["model_id"] for record in json.loads(path.read_text())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "compatibility-registry.json"


def asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob(path.name + ".corrupt-*"))


def test_nothing_is_written_until_there_is_something_to_say(path: Path) -> None:
    registry = Registry(path, clock)
    assert registry.rows() == ()
    assert registry.trouble is None
    assert list(path.parent.iterdir()) == []


def test_one_record_per_line_in_exactly_seven_fields(path: Path) -> None:
    registry = Registry(path, clock)
    for number in range(3):
        registry.append(row(number))
    records = json.loads(path.read_text())
    assert [list(record) for record in records] == [FIELDS] * 3
    assert sum('"ts"' in line for line in path.read_text().splitlines()) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert registry.rows() == Registry(path, clock).rows() == (row(2), row(1), row(0))


def test_an_append_rewrites_no_earlier_byte(path: Path) -> None:
    registry = Registry(path, clock)
    registry.append(row(0))
    for number in range(1, 5):
        before = path.read_bytes()
        registry.append(row(number))
        assert path.read_bytes().startswith(before[: before.rindex(b"]")])


def test_verdict_is_the_newest_canary_or_quarantine_row(path: Path) -> None:
    registry = Registry(path, clock)
    assert registry.verdict(key()) is None
    registry.append(row(outcome="fail", metadata=event("canary")))
    registry.append(row(outcome="pass", metadata=event("canary"), ts=5.0))  # the clock jumped
    for kind in ("strike", "refusal", "environment"):
        registry.append(row(outcome="fail", metadata=event(kind)))
    for known in (registry, Registry(path, clock)):
        verdict = known.verdict(key())
        assert verdict is not None
        assert verdict.outcome == "pass"
        assert known.verdict(key(version="llama.cpp 0.3.37")) is None
        assert known.verdict(key("f1")) is None
    registry.append(row(outcome="fail", metadata=event("quarantine")))
    assert registry.verdict(key()).outcome == "fail"  # type: ignore[union-attr]
    assert {k: v.outcome for k, v in registry.verdicts().items()} == {key(): "fail"}


def test_filters_and_summary(path: Path) -> None:
    registry = Registry(path, clock)
    for number in range(6):
        registry.append(
            row(number, model_id=f"m{number % 2}", outcome="pass" if number % 3 else "fail")
        )
    assert [r.ts for r in registry.rows(limit=2)] == [row(5).ts, row(4).ts]
    assert len(registry.rows(model_id="m0")) == 3
    assert len(registry.rows(outcome="fail")) == 2
    assert registry.rows(backend="mlx") == ()
    assert len(registry.rows(since=row(4).ts)) == 2
    assert registry.summary()["m0"].as_dict() == {
        "total": 3, "pass": 2, "fail": 1, "latest_ts": row(4).ts,
    }  # fmt: skip


def test_every_text_stays_on_its_line_clean_and_bounded(path: Path) -> None:
    registry = Registry(path, clock)
    hostile = 'a\n]\n{"x":1},\x1b[2J\u202e\ud800\u2028'
    metadata = event(
        "strike",
        perplexity=float("nan"),
        deep=[[[[[[[[hostile]]]]]]]],
        stderr_tail="x" * 100_000 + "the cause",
        **{hostile: hostile},
    )
    registry.append(row(model_id=hostile, reason=hostile, metadata=metadata))
    registry.append(row(1, metadata=event("strike", many=["y" * 9_000] * 100)))
    text = path.read_text("utf-8")
    strict = json.loads(text, parse_constant=pytest.fail)
    assert len(strict) == 2
    assert len(text.splitlines()) == 4
    assert "\x1b" not in text
    assert strict[0]["metadata"]["stderr_tail"].endswith("the cause")
    assert len(strict[0]["metadata"]["stderr_tail"]) <= 8 * 1024
    assert strict[1]["metadata"]["fingerprint"] == "f0"
    assert len(registry.rows(model_id=hostile)) == 1


@pytest.mark.parametrize("wrong", [{"outcome": "maybe"}, {"metadata": {"event": "party"}}])
def test_a_row_that_is_none_is_our_own_mistake(path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no registry row"):
        Registry(path, clock).append(row(**wrong))


def test_a_cut_at_every_byte_keeps_every_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    registry = Registry(path, clock)
    ends: list[int] = []
    for number in range(3):
        registry.append(row(number, reason="ü"))
        ends.append(path.read_bytes().rindex(b"}") + 1)
    registry.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / "r.json"
        path.write_bytes(whole[:cut])
        kept = [f"org/m{n}" for n, end in enumerate(ends) if end <= cut]
        registry = Registry(path, clock)
        assert [r.model_id for r in reversed(registry.rows())] == kept, cut
        assert ids(path) == kept, cut
        damaged = whole[max([1, *(end for end in ends if end <= cut)]) : cut].strip(b"],\n")
        assert b"".join(a.read_bytes() for a in asides(path)).strip(b",\n") == damaged, cut
        assert bool(registry.warnings) == (cut < len(whole) - 1), cut
        if cut % 5 == 0:
            registry.append(row(9))
            assert ids(path) == [*kept, "org/m9"], cut
        registry.close()


def test_a_cut_while_open_is_mended_before_the_next_append(path: Path) -> None:
    for cut in range(1, 40, 3):
        registry = Registry(path, clock)
        registry.append(row(0))
        registry.append(row(1))
        os.truncate(path, path.stat().st_size - cut)
        registry.append(row(2))
        assert ids(path) in (["org/m0", "org/m1", "org/m2"], ["org/m0", "org/m2"])
        assert registry.total == len(ids(path))
        assert [r.model_id for r in reversed(registry.rows())] == ids(path)
        registry.close()
        path.unlink()


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_damage_anywhere_loses_only_the_records_it_hits(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.json"
    registry = Registry(path, clock)
    for number in range(4):
        registry.append(row(number))
    registry.close()
    whole = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(whole) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=20))
    spans = [(whole.index(line), len(line)) for line in bytes(whole).split(b"\n")[1:-2]]
    whole[start : start + len(noise)] = noise
    path.write_bytes(whole)
    untouched = [
        f"org/m{n}"
        for n, (at, length) in enumerate(spans)
        if start + len(noise) <= at - 1 or start > at + length
    ]
    mended = Registry(path, clock)
    known = [r.model_id for r in reversed(mended.rows())]
    assert [name for name in known if name in untouched] == untouched
    mended.append(row(9))
    assert ids(path) == [*known, "org/m9"]
    mended.close()


def test_another_programs_layout_is_taken_over_whole(path: Path) -> None:
    registry = Registry(path, clock)
    registry.append(row(0))
    registry.append(row(1))
    registry.close()
    records = json.loads(path.read_text())
    for text in (
        json.dumps([*records, {"not": "ours"}], indent=2),
        "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n",
    ):
        path.write_text(text)
        again = Registry(path, clock)
        assert again.rows() == (row(1), row(0))
        again.append(row(2))
        assert ids(path) == ["org/m0", "org/m1", "org/m2"]
        again.close()
    assert b'"not":"ours"' in asides(path)[0].read_bytes()


def test_two_objects_see_each_others_rows(path: Path) -> None:
    one, two = Registry(path, clock), Registry(path, clock)
    one.append(row(0))
    two.append(row(1))
    assert not two.refresh()
    assert one.refresh()
    one.append(row(2))
    two.refresh()
    assert one.rows() == two.rows() == (row(2), row(1), row(0))
    # One mends by putting a fresh file in place; the other follows it there.
    path.write_bytes(path.read_bytes().replace(b'"org/m1"', b'"org/m1', 1))
    Registry(path, clock).append(row(3))
    one.append(row(4))
    assert ids(path) == ["org/m0", "org/m2", "org/m3", "org/m4"]
    assert [r.model_id for r in reversed(one.rows())] == ids(path)


CHILD = """
    import sys, time
    from pathlib import Path
    from engine.registry import Registry
    from engine.types import RegistryRow
    registry = Registry(Path(sys.argv[1]), time.time)
    for number in range(int(sys.argv[3])):
        name = f"{sys.argv[2]}-{number}"
        registry.append(RegistryRow(time.time(), name, "gguf", "v", "pass", "r" * 3000,
                        {"event": "strike", "fingerprint": "f"}))
        print(name, flush=True)
"""


def child(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_processes_appending_at_once_lose_nothing(path: Path) -> None:
    writers = [child(path, name, 40) for name in ("a", "b")]
    said = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    names = ids(path)
    for mine in said:
        assert [name for name in names if name in mine] == mine
    assert len(names) == 80
    assert asides(path) == []


def test_sigkill_in_the_middle_of_appending_loses_nothing_acknowledged(path: Path) -> None:
    acknowledged: list[str] = []
    for attempt in range(4):
        writer = child(path, f"w{attempt}", 10_000)
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(5 + attempt)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        registry = Registry(path, clock)
        assert set(acknowledged) <= {r.model_id for r in registry.rows()}
        registry.close()
        assert set(acknowledged) <= set(ids(path))


def full_disk(path: Path) -> None:
    """Runs in a child: the file system refuses to let any file grow beyond a limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    registry = Registry(path, clock)
    registry.append(row(0))
    size = path.stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    bad = row(1, outcome="fail", metadata=event("quarantine", "f1"))
    for tries, given_row in ((1, bad), (2, row(2))):
        with pytest.raises(RegistryTrouble, match="cannot be written"):
            registry.append(given_row)
        assert registry.pending == tries
        assert ids(path) == ["org/m0"]
    assert "cannot be written" in str(registry.trouble)
    assert registry.total == 3
    assert registry.verdict(key("f1")).outcome == "fail"  # type: ignore[union-attr]
    assert registry.rows()[0] == row(2)
    assert registry.summary()["org/m1"].failed == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert registry.flush_pending() == 2
    assert registry.trouble is None
    assert ids(path) == ["org/m0", "org/m1", "org/m2"]
    assert Registry(path, clock).rows() == registry.rows()


def in_a_child(work: Callable[[Path], None], path: Path) -> None:
    """Run ``work`` in a child, because it changes limits of the whole process."""
    command = (
        "import sys, importlib.util as u; from pathlib import Path;"
        "s = u.spec_from_file_location('t', sys.argv[1]); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); getattr(m, sys.argv[2])(Path(sys.argv[3]))"
    )
    arguments = [sys.executable, "-c", command, __file__, work.__name__, str(path)]
    done = subprocess.run(
        arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_full_disk_keeps_the_row_here_until_there_is_room(path: Path) -> None:
    in_a_child(full_disk, path)


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_something_else_in_its_place_is_trouble_and_nothing_more(path: Path, what: str) -> None:
    if what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    registry = Registry(path, clock)
    assert registry.trouble is not None
    with pytest.raises(RegistryTrouble):
        registry.append(row(0))
    assert registry.rows() == (row(0),)
    if what == "folder":
        path.rmdir()
    else:
        path.unlink()
    registry.append(row(1))
    assert ids(path) == ["org/m0", "org/m1"]


def test_a_stopped_neighbour_with_the_lock_holds_up_no_reader(path: Path) -> None:
    registry = Registry(path, clock)
    registry.append(row(0))
    with registry._file.locked():
        writer = threading.Thread(target=registry.append, args=(row(1),))
        writer.start()
        while not registry.pending:
            pass
        assert registry.rows() == (row(1), row(0))
        assert registry.total == 2
    writer.join()
    assert ids(path) == ["org/m0", "org/m1"]


def test_threads_appending_at_once_lose_nothing(path: Path) -> None:
    registry = Registry(path, clock)
    threads = [threading.Thread(target=registry.append, args=(row(n),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(path)) == sorted(f"org/m{n}" for n in range(16))
    assert registry.total == 16
    assert registry.pending == 0
