import os
import socket
from pathlib import Path

import pytest

from engine.catalog.gguf import read_gguf
from engine.catalog.header import HeaderError, Kind, NotRegular
from engine.catalog.regular import open_regular, parse_json, read_json


def kind_of(path: Path) -> Kind:
    with pytest.raises(NotRegular) as caught:
        open_regular(path)
    return caught.value.kind


def test_nothing_but_a_regular_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    Path("file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert kind_of(Path("socket")) is Kind.SPECIAL
    assert kind_of(Path("fifo")) is Kind.SPECIAL
    assert kind_of(Path("/dev/zero")) is Kind.SPECIAL
    assert kind_of(tmp_path) is Kind.SPECIAL
    assert kind_of(Path("loop")) is Kind.LOOP
    assert kind_of(Path("dangling")) is Kind.MISSING
    assert kind_of(Path("file/below")) is Kind.MISSING
    assert kind_of(Path("x" * 300)) is Kind.MISSING
    assert kind_of(Path("a\0b")) is Kind.MISSING


def test_a_fifo_named_like_a_model_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(NotRegular, match="a FIFO"):
        read_gguf(tmp_path / "model.gguf")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_its_own_kind(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0)
    assert kind_of(path) is Kind.FORBIDDEN


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "absent", "."):
        kind_of(tmp_path / name)
    (tmp_path / "x").write_bytes(b"GGUF")
    with pytest.raises(HeaderError):
        read_gguf(tmp_path / "x")
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (bytes(64), "zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"<!doctype html>", "HTML"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "digits"),
        (b'{"a": ' * 100_000, "nesting"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"[1]", "a JSON list"),
        (b'"text"', "a JSON str"),
        (b'{"a": 1', "delimiter"),
    ],
)
def test_json_that_is_no_object_is_refused_with_a_reason(data: bytes, found: str) -> None:
    with pytest.raises(HeaderError) as caught:
        parse_json(data)
    assert found in caught.value.found


def test_json_is_read_up_to_its_cap_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": [1, 2.5]}')
    assert read_json(path, 15) == {"a": [1, 2.5]}
    with pytest.raises(HeaderError, match="at most 14 bytes, found 15"):
        read_json(path, 14)
    with path.open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises(HeaderError, match="at most 4,096 bytes"):
        read_json(path, 4096)
