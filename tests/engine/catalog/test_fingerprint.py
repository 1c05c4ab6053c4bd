import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog.entry import CatalogEntry
from engine.catalog.fingerprint import BLOCK, BLOCKS, fingerprint, stamp
from engine.catalog.regular import RegularFile
from engine.catalog.scan import resolve_path
from engine.catalog.starter import starter_entries, starter_file
from engine.settings import load_settings
from engine.types import Backend
from tests.forge import Tensor, gguf_bytes, write_gguf, write_mlx, write_simulated


def test_the_same_content_elsewhere_is_the_same_model(tmp_path: Path) -> None:
    here = resolve_path(write_gguf(tmp_path / "a" / "m.gguf"))
    there = resolve_path(write_gguf(tmp_path / "b" / "m.gguf"))
    assert fingerprint(here) == fingerprint(there)
    assert len(fingerprint(here)) == len(stamp(here)) == 32
    assert stamp(here) != stamp(there)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors", "x.jinja"]
)
def test_a_change_in_any_file_of_a_folder_counts(tmp_path: Path, name: str) -> None:
    folder = write_mlx(tmp_path, shards=2, x__jinja=b"{{ a }}")
    before = fingerprint(resolve_path(folder))
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    changed = fingerprint(resolve_path(folder))
    assert changed != before
    (folder / name).unlink()
    assert fingerprint(resolve_path(folder)) not in (before, changed)


def test_a_readme_is_not_the_model(tmp_path: Path) -> None:
    folder = write_mlx(tmp_path)
    before = fingerprint(resolve_path(folder))
    (folder / "README.md").write_text("new words")
    assert fingerprint(resolve_path(folder)) == before


def test_a_repaired_download_is_another_model(tmp_path: Path) -> None:
    tensors = [Tensor("a", (200_000,))]
    path = write_gguf(tmp_path / "m.gguf", None, tensors)
    whole = path.read_bytes()
    path.write_bytes(whole[:-300_000] + bytes(300_000))
    broken = fingerprint(resolve_path(path))
    path.write_bytes(whole[:-1])
    short = fingerprint(resolve_path(path))
    path.write_bytes(whole)
    assert len({broken, short, fingerprint(resolve_path(path))}) == 3


def test_a_touched_file_changes_the_stamp_alone(tmp_path: Path) -> None:
    entry = resolve_path(write_gguf(tmp_path / "m.gguf"))
    before = fingerprint(entry), stamp(entry)
    os.utime(entry.path, (1, 1))
    assert fingerprint(entry) == before[0]
    assert stamp(entry) != before[1]


def test_every_split_counts(tmp_path: Path) -> None:
    parts = [write_gguf(tmp_path / f"m-0000{n}-of-00002.gguf") for n in (1, 2)]
    before = fingerprint(resolve_path(parts[0]))
    parts[1].write_bytes(gguf_bytes(None, [Tensor("other")]))
    assert fingerprint(resolve_path(parts[0])) != before


def test_an_upgrade_can_be_played(tmp_path: Path) -> None:
    def of(**script: object) -> str:
        return fingerprint(resolve_path(write_simulated(tmp_path, **script)))

    assert of(backend_version="1.0") == of(backend_version="2.0") == of()
    assert of(say=["a"]) != of()
    (tmp_path / "simulated.json").write_text("{broken")
    broken = fingerprint(resolve_path(tmp_path))
    assert broken != of()


def test_the_starters_verdicts_survive_its_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    settings = load_settings()
    source = starter_file()
    original, unbuilt = starter_entries(settings, source)
    before = fingerprint(unbuilt), stamp(unbuilt)
    write_mlx(unbuilt.path, {"model_type": "llama"})
    built = starter_entries(settings, source)[1]
    assert built.build_from is None
    assert (fingerprint(built), stamp(built)) == before
    assert fingerprint(original) != before[0]
    # Without its source it is a folder like any other.
    alone = starter_entries(settings, None)[0]
    assert alone.build_from is None


def test_odd_files_have_a_fingerprint_too(tmp_path: Path) -> None:
    folder = write_mlx(tmp_path / "odd")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "zeros.gguf").write_bytes(bytes(5000))
    entries = [
        resolve_path(path)
        for path in (folder, tmp_path / "pipe.gguf", tmp_path / "zeros.gguf", tmp_path / "absent")
    ]
    entries.append(CatalogEntry("x", tmp_path / "nul\0", Backend.SIMULATED, tmp_path, "folder"))
    prints = [fingerprint(entry) for entry in entries]
    assert len(set(prints)) == len(prints)
    assert all(len(stamp(entry)) == 32 for entry in entries)
    assert fingerprint(replace(entries[0], id="other")) == prints[0]


def test_a_huge_model_costs_its_headers_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 25 * 10**9
    for number in range(1, 5):
        path = write_gguf(tmp_path / f"m-0000{number}-of-00004.gguf", None, [Tensor("a", (size,))])
        os.truncate(path, 4 * size + 4096)
    read: list[int] = []
    original = RegularFile.read_at

    def counted(self: RegularFile, offset: int, count: int) -> bytes:
        data = original(self, offset, count)
        read.append(len(data))
        return data

    monkeypatch.setattr(RegularFile, "read_at", counted)
    fingerprint(resolve_path(tmp_path / "m-00001-of-00004.gguf"))
    assert sum(read) <= 6 * 300_000 + BLOCKS * BLOCK
