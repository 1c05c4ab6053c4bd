import os
import threading
import time
from pathlib import Path

from engine.catalog.regular import RegularFile, open_regular
from engine.catalog.remembered import KEPT, Remembered


def later() -> float:
    """When nothing has touched the files of a test for a while."""
    return time.time() + 3600


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class Reader:
    def __init__(self) -> None:
        self.reads: list[bytes] = []

    def __call__(self, file: RegularFile) -> bytes:
        self.reads.append(file.read_at(0, file.size))
        return self.reads[-1]


def test_an_untouched_file_is_read_once_and_a_touched_one_again(
    tmp_path: Path,
) -> None:
    path, reader = written(tmp_path / "f", b"one"), Reader()
    kept = Remembered[bytes](lambda _: True, clock=later)
    for _ in range(3):
        with open_regular(path) as file:
            assert kept.read(file, reader) == b"one"
    assert len(reader.reads) == 1
    path.write_bytes(b"two")
    with open_regular(path) as file:
        assert kept.read(file, reader) == b"two"
    os.utime(path, ns=(1, 1))
    with open_regular(path) as file:
        kept.read(file, reader)
    assert len(reader.reads) == 3


def test_a_file_just_touched_is_read_every_time(tmp_path: Path) -> None:
    path, reader = written(tmp_path / "f", b"one"), Reader()
    kept = Remembered[bytes](lambda _: True)
    for _ in range(2):
        with open_regular(path) as file:
            kept.read(file, reader)
    assert len(reader.reads) == 2


def test_what_is_not_worth_it_and_what_was_not_asked_for_long_is_not_kept(tmp_path: Path) -> None:
    reader, kept = Reader(), Remembered[bytes](lambda data: data != b"cheap", clock=later)
    for name in ("cheap", *(str(n) for n in range(KEPT + 1)), "cheap", "0"):
        with open_regular(written(tmp_path / name, name.encode())) as file:
            kept.read(file, reader)
    assert reader.reads.count(b"cheap") == 2
    assert reader.reads.count(b"0") == 2


def test_two_threads_that_want_the_same_file_have_it_read_once(tmp_path: Path) -> None:
    path, reader = written(tmp_path / "f", b"one"), Reader()
    kept = Remembered[bytes](lambda _: True, clock=later)
    began, go = threading.Event(), threading.Event()

    def slowly(file: RegularFile) -> bytes:
        began.set()
        assert go.wait(10)
        return reader(file)

    def first() -> None:
        with open_regular(path) as file:
            kept.read(file, slowly)

    threads = [threading.Thread(target=first) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert began.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert reader.reads == [b"one"]
