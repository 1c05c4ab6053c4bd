"""One engine per home."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.home.home import Home, HomeTaken, HomeUnusable, read_engine

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from pathlib import Path; from engine.home.home import Home\n"
    "home = Home(Path(sys.argv[1])); home.take('127.0.0.1:1234'); print('taken', flush=True)\n"
    "sys.stdin.read(); home.let_go()"
)


def contents(path: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(file.relative_to(path)): (
            file.stat().st_mtime_ns,
            file.stat().st_mode,
            file.read_bytes() if file.is_file() else b"",
        )
        for file in [path, *path.rglob("*")]
    }


def holder(path: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "taken\n"
    return child


def end(child: "subprocess.Popen[str]") -> None:
    child.communicate(timeout=30)


def test_a_home_is_private_and_says_who_lives_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "home"
    home = Home(path)
    home.take("127.0.0.1:1234")
    home.take()
    assert path.stat().st_mode & 0o777 == 0o700
    assert {f.name for f in path.iterdir()} == {"engine.lock", "engine.json", "logs", "simulated"}
    assert all(f.stat().st_mode & 0o077 == 0 for f in path.iterdir())
    assert set(json.loads(home.engine.read_text())) == {"pid", "address", "since"}
    home.publish("127.0.0.1:4321")
    found = read_engine(home.engine)
    assert found is not None
    assert found[:2] == (os.getpid(), "127.0.0.1:4321")
    home.let_go()
    home.let_go()
    assert not home.engine.exists()
    Home(path).take()


def test_a_second_one_says_who_holds_it_and_touches_no_file(tmp_path: Path) -> None:
    path = tmp_path / "home"
    child = holder(path)
    try:
        before = contents(path)
        with pytest.raises(HomeTaken) as refused:
            Home(path).take()
        message = str(refused.value)
        assert f"process {child.pid} (" in message
        assert " since 20" in message
        assert "127.0.0.1:1234" in message
        assert contents(path) == before
    finally:
        end(child)
    Home(path).take()


def test_a_killed_holder_leaves_the_home_free(tmp_path: Path) -> None:
    path = tmp_path / "home"
    child = holder(path)
    child.send_signal(signal.SIGKILL)
    end(child)
    home = Home(path)
    home.take()
    home.let_go()


def test_an_old_engine_file_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "home"
    child = holder(path)
    try:
        for text in ("", "{", "[]", '{"pid": 1e999, "address": "", "since": 0}'):
            (path / "engine.json").write_text(text)
            with pytest.raises(HomeTaken, match="not said who"):
                Home(path).take()
        old = {"pid": os.getpid(), "address": "", "since": 5.0}
        (path / "engine.json").write_text(json.dumps(old))
        with pytest.raises(HomeTaken, match="not said who"):
            Home(path).take()
    finally:
        end(child)


def test_a_home_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(HomeUnusable, match="cannot be the home folder"):
            Home(path).take()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(HomeUnusable):
        Home(tmp_path / "loop").take()
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(HomeUnusable, match="Permission denied"):
            Home(closed).take()


def test_a_folder_others_write_in_is_refused_and_left_alone(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "theirs").write_text("x")
    with pytest.raises(HomeUnusable, match="folder of its own"):
        Home(shared).take()
    assert shared.stat().st_mode & 0o777 == 0o777


def test_a_readable_folder_with_other_things_keeps_its_mode(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o755)
    (mine / "notes").write_text("x")
    home = Home(mine)
    home.take()
    home.let_go()
    assert mine.stat().st_mode & 0o777 == 0o755
