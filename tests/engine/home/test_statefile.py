"""``state.json`` and the intents in it."""

import os
from pathlib import Path

import pytest

from engine.home.intents import Intents, boot_id
from engine.home.statefile import Hold, State, StateFile
from engine.types import Backend, Key

KEY = Key("f0", Backend.MLX, "mlx-lm 0.32.2, mlx 0.32.4")
HOLD = Hold(model_id="m", since=1.0, actor="me", reason="held by me")


def clock() -> float:
    return 1_790_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_a_change_is_on_disk_whole_and_private(path: Path) -> None:
    file = StateFile(path, clock)
    assert file.lost
    file.change(holds=(HOLD,))
    again = StateFile(path, clock)
    assert not again.lost
    assert again.state == State(holds=(HOLD,))
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_an_undurable_change_waits_for_the_next_flush(path: Path) -> None:
    file = StateFile(path, clock)
    file.change(durable=False, holds=(HOLD,))
    assert not path.exists()
    assert file.flush()
    assert StateFile(path, clock).state.holds == (HOLD,)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\x00", b"[]", b'{"version": 2}', b'{"version": 1, "cases": 3}']
)
def test_a_damaged_file_is_moved_aside(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    file = StateFile(path, clock)
    assert file.lost
    assert file.state == State()
    assert len(file.warnings) == 1
    (aside,) = path.parent.glob("state.json.corrupt-*")
    assert aside.read_bytes() == damage
    file.change(holds=(HOLD,))
    assert StateFile(path, clock).state.holds == (HOLD,)


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_something_else_in_its_place_is_moved_aside(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    file = StateFile(path, clock)
    assert file.lost
    file.change(holds=(HOLD,))
    assert StateFile(path, clock).state.holds == (HOLD,)


def test_every_cut_of_the_file_is_noticed(path: Path) -> None:
    StateFile(path, clock).change(holds=(HOLD,))
    whole = path.read_bytes()
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert StateFile(path, clock).lost or path.read_bytes().rstrip().endswith(b"}")


def test_what_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "state.json"
    file = StateFile(path, clock)
    file.change(holds=(HOLD,))
    assert "cannot be written" in str(file.trouble)
    assert file.state.holds == (HOLD,)
    path.parent.mkdir()
    assert file.flush()
    assert file.trouble is None
    assert StateFile(path, clock).state.holds == (HOLD,)


def test_an_intent_lives_from_spawn_to_exit(path: Path) -> None:
    intents = Intents(StateFile(path, clock), clock, "boot-1")
    one, two = intents.begin("one", KEY), intents.begin("two", None)
    intents.update(one, pid=42, phase="routable", requests=["a1b2 openclaw-3"])
    intents.end(two)
    intents.end("never was")
    (kept,) = StateFile(path, clock).state.intents
    assert (kept.model_id, kept.pid, kept.requests) == ("one", 42, ("a1b2 openclaw-3",))
    intents.end(one)
    assert Intents(StateFile(path, clock), clock, "boot-2").leftovers() == ((), ())


def test_an_intent_of_this_boot_is_only_noted(path: Path) -> None:
    Intents(StateFile(path, clock), clock, "boot-1").begin("m", KEY)
    intents = Intents(StateFile(path, clock), clock, "boot-1")
    unclean, orphaned = intents.leftovers()
    assert (unclean, [i.model_id for i in orphaned]) == ((), ["m"])
    assert intents.unclean("m") is None
    assert intents.leftovers() == ((), ())


def test_an_intent_of_an_earlier_boot_stays_until_an_operator_loads(path: Path) -> None:
    Intents(StateFile(path, clock), clock, "boot-1").begin("m\x1b", KEY)
    for boot in ("boot-2", "boot-2", "boot-3"):
        intents = Intents(StateFile(path, clock), clock, boot)
        intents.leftovers()
        found = intents.unclean("m\x1b")
        assert found is not None
        assert (found.boot_id, found.phase) == ("boot-1", "loading")
    intents.forgive("m\x1b")
    assert Intents(StateFile(path, clock), clock, "boot-3").unclean("m\x1b") is None


def test_a_boot_has_one_id() -> None:
    assert boot_id()
    assert boot_id() == boot_id()


def test_a_reader_without_the_homes_lock_changes_nothing(path: Path) -> None:
    path.write_bytes(b"{")
    file = StateFile(path, clock, readonly=True)
    assert file.lost
    assert len(file.warnings) == 1
    file.change(holds=(HOLD,))
    assert file.state.holds == (HOLD,)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == b"{"
