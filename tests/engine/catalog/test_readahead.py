import os
import sys
from pathlib import Path

import pytest

from engine.catalog import readahead
from engine.catalog.readahead import Readahead
from engine.catalog.regular import RegularFile, open_regular

Ask = tuple[str, int, int]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Ask]:
    """What the system was asked for, in slices of 100 bytes."""
    asks: list[Ask] = []
    monkeypatch.setattr(readahead, "SLICE", 100)
    monkeypatch.setattr(
        RegularFile,
        "read_ahead",
        lambda file, offset, count: asks.append((file.path.name, offset, count)),
    )
    return asks


def files(folder: Path, **sizes: int) -> list[Path]:
    for name, size in sizes.items():
        (folder / name).write_bytes(b"x" * size)
    return [folder / name for name in sizes]


def test_every_file_is_asked_for_to_its_end_and_up_to_the_limit(
    tmp_path: Path, asked: list[Ask]
) -> None:
    Readahead(270).ask(files(tmp_path, a=150, b=500))
    assert asked == [("a", 0, 100), ("a", 100, 50), ("b", 0, 100), ("b", 100, 20)]


def test_nothing_is_asked_for_once_it_is_stopped(
    tmp_path: Path, asked: list[Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Readahead(1000)

    def once(file: RegularFile, offset: int, count: int) -> None:
        asked.append((file.path.name, offset, count))
        ahead.stop()

    monkeypatch.setattr(RegularFile, "read_ahead", once)
    ahead.ask(files(tmp_path, a=500, b=500))
    assert asked == [("a", 0, 100)]


def test_what_is_no_file_is_passed_over(tmp_path: Path, asked: list[Ask]) -> None:
    os.mkfifo(tmp_path / "pipe")
    Readahead(1000).ask([tmp_path / "pipe", tmp_path / "none", *files(tmp_path, a=10)])
    assert asked == [("a", 0, 10)]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS is asked in another way")
def test_the_system_is_asked_and_its_refusal_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[tuple[int, int, int]] = []

    def refuses(fd: int, offset: int, count: int, advice: int) -> None:
        asks.append((offset, count, advice))
        raise OSError("not on this file system")

    monkeypatch.setattr(os, "posix_fadvise", refuses)
    with open_regular(files(tmp_path, a=10)[0]) as file:
        file.read_ahead(0, 10)
    assert asks == [(0, 10, os.POSIX_FADV_WILLNEED)]
