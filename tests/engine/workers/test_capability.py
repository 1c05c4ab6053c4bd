"""What runtimes answer of themselves, and what becomes of the answers."""

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from engine.admission.facts import Facts
from engine.admission.gate import explain
from engine.admission.questions import questions
from engine.catalog.starter import starter_entries, starter_file
from engine.settings import Settings
from engine.types import Backend
from engine.workers.capability import FILE, Capabilities
from tests.process import ended

PYTHON = Path(sys.executable)


@pytest.fixture
def capabilities(tmp_path: Path) -> Capabilities:
    return Capabilities(tmp_path / "home", lambda: 7.0)


def fake_python(folder: Path, script: str) -> Path:
    """An interpreter that does something else."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# -- the real runtimes --------------------------------------------------------------------------


@pytest.mark.real
def test_llama_cpp_answers_for_architectures_and_pre_tokenizers(
    capabilities: Capabilities, tmp_path: Path
) -> None:
    names = [
        "llama",
        "qwen3",
        "nonesuch",
        "pre:gpt-4o",
        "pre:nonesuch",
        "vocabulary:t5",
        "vocabulary:nonesuch",
        "split:gguf",
        "x\x1b[2J",
    ]
    answer = capabilities.ask(Backend.GGUF, PYTHON, names)
    assert not answer.error
    assert answer.supports == {
        "llama": True,
        "qwen3": True,
        "nonesuch": False,
        "pre:gpt-4o": True,
        "pre:nonesuch": False,
        "vocabulary:t5": True,
        "vocabulary:nonesuch": False,
        "split:gguf": False,  # built without RPC, as from PyPI's source
        "x\x1b[2J": False,
    }
    assert answer.ggml_types is not None
    assert answer.ggml_types >= 40
    assert capabilities.versions(Backend.GGUF, PYTHON).version == answer.version
    # The real starter passes the gate on what the runtime itself said.
    source = starter_file()
    assert source is not None
    entry = starter_entries(Settings(home=tmp_path), source)[0]
    capabilities.ask(Backend.GGUF, PYTHON, questions(entry))
    facts = Facts(
        backend_version=answer.version,
        supports=lambda name: capabilities.known(answer.version, Backend.GGUF, name),
        ggml_types=capabilities.ggml_types(answer.version),
        budget=10**12,
    )
    explanation = explain(entry, facts)
    assert explanation.admitted
    assert all(check.result == "pass" for check in explanation.checks)


@pytest.mark.real
def test_mlx_lm_answers_by_its_own_list_and_remapping(capabilities: Capabilities) -> None:
    answer = capabilities.ask(
        Backend.MLX,
        PYTHON,
        [
            "llama",
            "llama/LlamaForCausalLM",
            "kimi_k2",
            "base",
            "nonesuch",
            "../utils",
            "bailing_hybrid/BailingMoeV3ForCausalLM",
            "tokenizer:LlamaTokenizer",
            "tokenizer:TikTokenTokenizer",
            "split:llama/LlamaForCausalLM",
            "split:gemma3",
            "repeat:llama",
            "repeat:qwen3_5",
        ],
    )
    assert not answer.error
    assert [name for name, known in sorted(answer.supports.items()) if known] == [
        "bailing_hybrid/BailingMoeV3ForCausalLM",
        "kimi_k2",
        "llama",
        "llama/LlamaForCausalLM",
        "repeat:qwen3_5",
        "split:llama/LlamaForCausalLM",
        "tokenizer:LlamaTokenizer",
    ]
    assert capabilities.versions(Backend.MLX, PYTHON).version == answer.version
    needed = capabilities.requires(answer.version, Backend.MLX, "llama/LlamaForCausalLM")
    assert {"hidden_size", "num_hidden_layers", "vocab_size"} <= set(needed)
    assert not capabilities.requires(answer.version, Backend.MLX, "nonesuch")
    assert (answer.working_set is None) is answer.device.startswith("Device(cpu")


# -- the cache ----------------------------------------------------------------------------------

ANSWER = json.dumps(
    {"version": "llama-cpp-python 9.9", "error": "", "supports": {"a": True}, "ggml_types": 50}
)


def test_answers_are_kept_for_their_version_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    python = fake_python(tmp_path, f"echo '{ANSWER}'")
    Capabilities(home, lambda: 7.0).ask(Backend.GGUF, python, ["a"])
    again = Capabilities(home)
    assert again.known("llama-cpp-python 9.9", Backend.GGUF, "a") is True
    assert again.known("llama-cpp-python 9.9", Backend.GGUF, "b") is None
    assert again.known("llama-cpp-python 9.10", Backend.GGUF, "a") is None
    assert again.known("llama-cpp-python 9.9", Backend.MLX, "a") is None
    assert again.ggml_types("llama-cpp-python 9.9") == 50
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"format":2,"runtimes":{"a":3}}', b"[" * 9999],
)
def test_a_damaged_cache_is_forgotten_and_rebuilt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    capabilities = Capabilities(tmp_path)
    assert capabilities.known("llama-cpp-python 9.9", Backend.GGUF, "a") is None
    capabilities.ask(Backend.GGUF, fake_python(tmp_path, f"echo '{ANSWER}'"), ["a"])
    assert Capabilities(tmp_path).known("llama-cpp-python 9.9", Backend.GGUF, "a") is True


def test_a_cache_that_is_a_fifo_or_a_home_that_cannot_be_written_stops_nothing(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / FILE)
    assert Capabilities(tmp_path).known("x", Backend.GGUF, "a") is None
    (tmp_path / "file").write_text("")
    capabilities = Capabilities(tmp_path / "file")
    answer = capabilities.ask(Backend.GGUF, fake_python(tmp_path, f"echo '{ANSWER}'"), ["a"])
    assert answer.supports == {"a": True}
    assert capabilities.known("llama-cpp-python 9.9", Backend.GGUF, "a") is True


def on_gpu(working_set: int | None) -> str:
    """What an MLX answers whose GPU may hold so much; None is a CPU."""
    figures = {"version": "mlx-lm 9.9", "error": "", "supports": {"llama": True}}
    return json.dumps(figures | {"working_set": working_set})


def test_what_the_gpu_may_hold_is_kept_until_the_operator_moves_its_limit(tmp_path: Path) -> None:
    python = fake_python(tmp_path, f"echo '{on_gpu(384_000_000_000)}'")
    Capabilities(tmp_path, wired=lambda: 0).ask(Backend.MLX, python, [])
    again = Capabilities(tmp_path, wired=lambda: 0)
    assert again.working_set("mlx-lm 9.9") == 384_000_000_000
    assert again.working_set("mlx-lm 9.10") is None
    assert not again.moved("mlx-lm 9.9")
    raised = Capabilities(tmp_path, wired=lambda: 480_000_000_000)
    assert raised.moved("mlx-lm 9.9")
    raised.ask(Backend.MLX, python, [])
    assert not raised.moved("mlx-lm 9.9")


def test_a_runtime_on_a_cpu_has_no_such_limit(tmp_path: Path) -> None:
    python = fake_python(tmp_path, f"echo '{on_gpu(None)}'")
    capabilities = Capabilities(tmp_path, wired=lambda: 480_000_000_000)
    capabilities.ask(Backend.MLX, python, [])
    assert capabilities.working_set("mlx-lm 9.9") is None
    assert not capabilities.moved("mlx-lm 9.9")


# -- trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -ILL $$", "SIGILL"),
        ("echo boom >&2; kill -ABRT $$", "boom"),
        ("exit 3", "status 3"),
        ("echo not json", "no answer"),
        ("echo '[]'", "no answer"),
        ("""echo '{"version": "", "error": "mlx-lm is not installed"}'""", "not installed"),
        ("printf '\\033[2J' >&2; exit 1", "no answer"),
    ],
)
def test_a_runtime_that_cannot_answer_says_why_and_is_not_remembered(
    tmp_path: Path, script: str, words: str
) -> None:
    capabilities = Capabilities(tmp_path / "home")
    python = fake_python(tmp_path, script)
    answer = capabilities.ask(Backend.MLX, python, ["llama"])
    assert words in answer.error
    assert "\x1b" not in answer.error
    assert not answer.supports
    assert words in capabilities.versions(Backend.MLX, python).error
    assert not (tmp_path / "home").exists()


def test_a_runtime_that_never_answers_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    python = fake_python(tmp_path, f"sleep 600 & echo $! > {pid}; wait")
    answer = Capabilities(tmp_path, timeout_s=0.5).ask(Backend.GGUF, python, ["llama"])
    assert "no answer within" in answer.error
    sleeper = int(pid.read_text())
    deadline = time.monotonic() + 10
    while not ended(sleeper):  # the signal is sent; the system takes a moment to obey
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_missing_interpreter(capabilities: Capabilities, tmp_path: Path) -> None:
    assert "did not start" in capabilities.versions(Backend.GGUF, tmp_path / "none").error


def test_the_child_gets_no_secret(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    python = fake_python(tmp_path, f"env > {out}; exit 1")
    environment = {"PATH": os.environ["PATH"], "HF_TOKEN": "hidden", "OPENAI_API_KEY": "hidden"}
    Capabilities(tmp_path, environment=environment).ask(Backend.GGUF, python, ["llama"])
    assert "hidden" not in out.read_text()
    assert "PATH=" in out.read_text()


def test_names_no_architecture_has_are_never_asked(tmp_path: Path) -> None:
    out = tmp_path / "arguments"
    python = fake_python(tmp_path, f"echo \"$@\" > {out}; echo '{ANSWER}'")
    answer = Capabilities(tmp_path).ask(Backend.GGUF, python, ["a", "b c", "x\0y", "", "é"])
    assert answer.supports == {"a": True, "b c": False, "x\0y": False, "": False, "é": False}
    assert out.read_text().split()[-2:] == ["gguf", "a"]


def test_the_simulated_runtime_knows_everything(capabilities: Capabilities) -> None:
    assert capabilities.known("simulated 2.0", Backend.SIMULATED, "anything") is True
    assert capabilities.versions(Backend.SIMULATED, PYTHON).version == "simulated 1.0"
