import os
import sys
from pathlib import Path

import pytest

from engine.catalog.scan import Catalog, resolve_path, scan
from engine.catalog.starter import GGUF_ID, MLX_ID, starter_file
from engine.catalog.walk import MAX_DEPTH
from engine.settings import Settings, load_settings
from engine.types import Backend
from tests.forge import write_gguf, write_mlx, write_simulated


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LMX_HOME", str(tmp_path / "lmx"))


def find(tmp_path: Path, **changes: object) -> Catalog:
    changes.setdefault("folders", (tmp_path / "models",))
    return scan(load_settings(**changes))


def repository(cache: Path, name: str, revision: str = "abc", *, main: bool = True) -> Path:
    folder = cache / name
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "snapshots" / revision).mkdir(parents=True)
    if main:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


def test_every_place_and_kind_under_its_own_name(tmp_path: Path) -> None:
    user = tmp_path / "user"
    hub = user / ".cache" / "huggingface" / "hub"
    write_mlx(repository(hub, "models--mlx-community--GLM-5-2.5bit"))
    repository(hub, "datasets--org--data").joinpath("model.gguf").touch()
    write_gguf(user / ".lmstudio" / "models" / "org" / "Qwen3-8B" / "Qwen3-8B-Q4_K_M.gguf")
    write_gguf(tmp_path / "models" / "deep" / "in" / "a.gguf")
    write_mlx(tmp_path / "models" / "Kimi-K2.5-3bit", shards=2)
    write_simulated(tmp_path / "models" / "sim", weights_gb=3, backend_version="2.0")
    catalog = find(tmp_path)
    assert [(e.id, e.backend, e.root_kind) for e in catalog.entries] == [
        ("Kimi-K2.5-3bit", Backend.MLX, "folder"),
        ("Qwen3-8B-Q4_K_M", Backend.GGUF, "lmstudio"),
        ("a", Backend.GGUF, "folder"),
        ("mlx-community/GLM-5-2.5bit", Backend.MLX, "hf"),
        ("sim", Backend.SIMULATED, "folder"),
    ]
    assert catalog.problems == ()
    qwen = catalog.get("Qwen3-8B-Q4_K_M")
    assert qwen is not None
    assert (qwen.architecture, qwen.quantisation, qwen.context_trained) == ("llama", "Q4_K_M", 2048)
    sim = catalog.get("sim")
    assert sim is not None
    assert (sim.weight_bytes, sim.simulated_version) == (3 * 10**9, "2.0")
    glm = catalog.get("mlx-community/GLM-5-2.5bit")
    assert glm is not None
    assert glm.root == hub / "models--mlx-community--GLM-5-2.5bit"
    assert catalog.get("absent") is None


def test_of_a_repository_only_the_snapshot_that_counts(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    old = repository(cache, "models--o--main", "new", main=False)
    write_mlx(old, {"model_type": "newest"})
    write_mlx(repository(cache, "models--o--main", "old"), {"model_type": "main"})
    early = repository(cache, "models--o--dated", "z", main=False)
    write_mlx(early, {"model_type": "early"})
    late = repository(cache, "models--o--dated", "a", main=False)
    write_mlx(late, {"model_type": "late"})
    os.utime(early, (1, 1))
    os.utime(late, (2, 2))
    (cache / "models--o--empty" / "snapshots").mkdir(parents=True)
    catalog = find(tmp_path, folders=(), hf_cache=cache)
    assert [(e.id, e.architecture) for e in catalog.entries] == [
        ("o/dated", "late"),
        ("o/main", "main"),
    ]


def test_files_of_a_repository_may_be_links_into_its_blobs(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    snapshot = repository(cache, "models--o--q")
    blob = write_gguf(cache / "models--o--q" / "blobs" / "123.gguf").rename(
        cache / "models--o--q" / "blobs" / "123"
    )
    for name in ("m-Q4_0.gguf", "m-Q8_0.gguf", "mmproj-m.gguf"):
        (snapshot / name).symlink_to(blob)
    ids = [e.id for e in find(tmp_path, folders=(), hf_cache=cache).entries]
    assert ids == ["o/q", "o/q@m-Q8_0", "o/q@mmproj-m"]


def test_names_that_are_taken(tmp_path: Path) -> None:
    write_mlx(tmp_path / "one" / "m")
    write_gguf(tmp_path / "one" / "m.gguf")
    write_gguf(tmp_path / "two" / "m.gguf")
    write_gguf(tmp_path / "two" / "sub" / "m.gguf")
    write_gguf(tmp_path / "three" / "m.gguf")
    folders = tuple(tmp_path / name for name in ("one", "two", "three"))
    catalog = find(tmp_path, folders=folders)
    assert [(e.id, e.path.relative_to(tmp_path).as_posix()) for e in catalog.entries] == [
        ("m", "one/m.gguf"),
        ("m@mlx", "one/m"),
        ("m@root", "two/m.gguf"),
        ("m@root2", "three/m.gguf"),
        ("m@sub", "two/sub/m.gguf"),
    ]
    assert catalog == find(tmp_path, folders=folders)


def test_a_split_model_is_one_entry(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    parts = [write_gguf(folder / f"K2-Q4_0-0000{n}-of-00003.gguf") for n in (1, 2, 3)]
    write_gguf(folder / "torn-00003-of-00003.gguf")
    second = write_gguf(folder / "torn-00002-of-00003.gguf")
    catalog = find(tmp_path)
    assert [(e.id, e.path) for e in catalog.entries] == [("K2-Q4_0", parts[0]), ("torn", second)]
    assert catalog.entries[0].weight_bytes == sum(part.stat().st_size for part in parts)
    assert resolve_path(parts[2]).path == parts[0]
    assert resolve_path(parts[2]).weight_bytes == catalog.entries[0].weight_bytes


def test_damaged_and_special_models_are_listed_and_nothing_hangs(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    os.mkfifo(folder / "pipe.gguf")
    (folder / "loop.gguf").symlink_to("loop.gguf")
    (folder / "empty.gguf").touch()
    (folder / ".hidden.gguf").touch()
    (folder / "half.gguf.part").touch()
    (folder / "no-config").mkdir()
    (folder / "no-config" / "model.safetensors").touch()
    (folder / "pickled").mkdir()
    (folder / "pickled" / "config.json").touch()
    (folder / "pickled" / "pytorch_model.bin").touch()
    (folder / "fifo-config").mkdir()
    os.mkfifo(folder / "fifo-config" / "config.json")
    (folder / "fifo-config" / "model.safetensors").touch()
    (folder / "fifo-script").mkdir()
    os.mkfifo(folder / "fifo-script" / "simulated.json")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapters.safetensors").touch()
    assert [entry.id for entry in find(tmp_path).entries] == [
        "empty",
        "fifo-config",
        "fifo-script",
        "loop",
        "no-config",
        "pickled",
        "pipe",
    ]


def test_folders_in_a_circle_end(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "a"
    write_gguf(folder / "m.gguf")
    (folder / "up").symlink_to(tmp_path / "models")
    (folder / "self").symlink_to("self")
    assert [entry.id for entry in find(tmp_path).entries] == ["m"]


def test_a_folder_inside_another_is_searched_once(tmp_path: Path) -> None:
    write_gguf(tmp_path / "models" / "a" / "m.gguf")
    folders = (tmp_path / "models", tmp_path / "models" / "a")
    assert [entry.id for entry in find(tmp_path, folders=folders).entries] == ["m"]


def test_what_cannot_be_searched_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_gguf(tmp_path.joinpath("models", *"abcdefgh") / "m.gguf")
    folders = (tmp_path / "absent", tmp_path / "file", tmp_path / "models")
    catalog = find(tmp_path, folders=folders, starter=False)
    assert catalog.entries == ()
    assert [problem.replace(str(tmp_path), "") for problem in catalog.problems] == [
        "/absent is no folder that can be read",
        "/file cannot be read: Not a directory",
        f"folders deeper than {MAX_DEPTH} below /models are not searched",
    ]


def test_hostile_names_are_displayable_and_reachable(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    write_gguf(folder / "a\x1b]52;c;x\x07.gguf")
    if sys.platform != "darwin":  # whose file system holds only UTF-8 names
        write_gguf(folder / os.fsdecode(b"not-utf8-\xff.gguf"))
    write_gguf(folder / "[red]m[.gguf")
    write_simulated(folder / "s\nt")
    catalog = find(tmp_path)
    expected = ["[red]m[", "a␛]52;c;x␇", "not-utf8-\\u{dcff}", "s t"]
    found = [entry.id for entry in catalog.entries]
    assert found == expected if sys.platform != "darwin" else set(found) < set(expected)
    assert all(entry.path.exists() for entry in catalog.entries)
    "".join(entry.id for entry in catalog.entries).encode()


def test_the_starter_shows_only_where_it_should(tmp_path: Path) -> None:
    home = load_settings().home
    for entry in (alone := find(tmp_path, folders=())).entries:
        assert entry.root_kind == "starter"
    assert [entry.id for entry in alone.entries] == [MLX_ID, GGUF_ID]
    twin = alone.entries[0]
    assert twin.build_from == alone.entries[1].path == starter_file()
    assert twin.path == home / "models" / MLX_ID

    write_mlx(home / "models" / MLX_ID, {"model_type": "llama", "quantization": {"bits": 4}})
    built = find(tmp_path, folders=())
    assert [entry.id for entry in built.entries] == [MLX_ID, GGUF_ID]
    assert built.entries[0].build_from is None
    assert (built.entries[0].architecture, built.entries[0].quantisation) == ("llama", "4-bit")
    assert find(tmp_path, folders=(), starter=False).entries == ()

    write_gguf(tmp_path / "models" / "other.gguf")
    assert [entry.id for entry in find(tmp_path).entries] == ["other"]
    assert [entry.id for entry in find(tmp_path, starter=True).entries] == [
        MLX_ID,
        GGUF_ID,
        "other",
    ]


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "models" / "m.gguf")
    assert find(tmp_path).entries[0].architecture == "llama"
    write_gguf(path, {"general.architecture": "qwen3", "qwen3.context_length": 7})
    entry = find(tmp_path).entries[0]
    assert (entry.architecture, entry.context_trained) == ("qwen3", 7)


def test_any_path_has_an_entry(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "solo" / "only.gguf")
    mlx = write_mlx(tmp_path / "mlx")
    sim = write_simulated(tmp_path / "sim")
    odd = gguf.with_name("no-suffix")
    odd.write_bytes(gguf.read_bytes())
    cases = {
        gguf: ("only", Backend.GGUF, gguf),
        gguf.parent: ("only", Backend.GGUF, gguf),
        odd: ("no-suffix", Backend.GGUF, odd),
        mlx: ("mlx", Backend.MLX, mlx),
        sim: ("sim", Backend.SIMULATED, sim),
        tmp_path / "absent.gguf": ("absent", Backend.GGUF, tmp_path / "absent.gguf"),
        tmp_path / "absent": ("absent", Backend.MLX, tmp_path / "absent"),
        Path("/dev/zero"): ("zero", Backend.MLX, Path("/dev/zero")),
        tmp_path / "nul\0": ("nul␀", Backend.MLX, tmp_path / "nul\0"),
    }
    for path, expected in cases.items():
        entry = resolve_path(path)
        assert (entry.id, entry.backend, entry.path) == expected


def test_a_path_into_a_repository_may_use_its_blobs(tmp_path: Path) -> None:
    snapshot = repository(tmp_path, "models--o--n")
    path = write_gguf(snapshot / "m.gguf")
    assert resolve_path(path).root == tmp_path / "models--o--n"
    assert resolve_path(write_mlx(snapshot)).root == tmp_path / "models--o--n"


def test_settings_may_name_the_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mlx(repository(tmp_path / "hf" / "hub", "models--o--a"))
    write_gguf(tmp_path / "studio" / "p" / "m" / "b.gguf")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    settings: Settings = load_settings(lmstudio=tmp_path / "studio")
    assert [entry.id for entry in scan(settings).entries] == ["b", "o/a"]
