"""One test for each code and check, the override's reach, order, determinism and the net."""

import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.admission import architecture, gate
from engine.admission.facts import Facts
from engine.admission.questions import questions
from engine.admission.signatures import Signature, load_signatures
from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import resolve_path
from engine.catalog.starter import starter_entries, starter_file
from engine.errors import Code, refuse
from engine.face import LoadOptions
from engine.settings import Settings
from engine.types import Backend, CheckResult, Explanation, Key, RegistryRow
from tests.effort import examples, stride
from tests.engine.admission.models import (
    GGUF_VERSION,
    METADATA,
    MLX_VERSION,
    Ask,
    changed,
    named,
    tensors,
    write_folder,
    write_model,
)
from tests.forge import Tensor, Typed, array, gguf_bytes, safetensors_bytes, write_simulated

OVERRIDE = LoadOptions(allow_unsupported_runtime=True)
ORDER = (
    "quarantine",
    "present",
    "safe",
    "complete",
    "architecture",
    "backend",
    "signature",
    "registry",
    "memory",
)


def refused(explanation: Explanation, check: str, code: Code) -> None:
    """The explanation refuses at this check with this code, and says what to do."""
    decision = explanation.decision
    assert not explanation.admitted
    assert decision is not None
    assert (decision.check, decision.code) == (check, code), decision
    assert decision.message
    assert decision.expected
    assert decision.found
    assert decision.remedy
    assert tuple(c.check for c in explanation.checks) == ORDER


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.gguf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "m")


# -- admitted -------------------------------------------------------------------------------------


def test_whole_models_of_every_kind_are_admitted(
    ask: Ask, model: Path, folder: Path, tmp_path: Path
) -> None:
    script = write_simulated(tmp_path / "s", weights_gb=3)
    for path in (model, folder, script):
        explanation = ask(path)
        assert explanation.admitted, explanation.decision
        assert tuple(check.check for check in explanation.checks) == ORDER
        assert all(check.result is CheckResult.PASS for check in explanation.checks)
    assert ask(script).estimate is not None
    assert ask(script).estimate.total == 3 * 10**9  # type: ignore[union-attr]


def test_the_real_starter_is_admitted_as_gguf_and_before_its_twin_is_built(tmp_path: Path) -> None:
    source = starter_file()
    assert source is not None
    for entry in starter_entries(Settings(home=tmp_path), source):
        facts = Facts(backend_version="any 1", supports=lambda _: True, budget=10**11)
        explanation = gate.explain(entry, facts)
        assert explanation.admitted, explanation.decision
        assert "llama" in questions(entry)
        assert explanation.estimate is not None
        # One pool with room for probes under llama.cpp, a cache for each of four slots under MLX.
        cells = 4096 + 512 if entry.backend is Backend.GGUF else 4096 * 4
        assert explanation.estimate.cache == 30 * 2 * 3 * 64 * 2 * cells


# -- quarantine -----------------------------------------------------------------------------------


def test_quarantine_is_asked_first_and_its_decision_is_told_word_for_word(
    ask: Ask, tmp_path: Path
) -> None:
    decision = refuse(Code.MODEL_UNSTABLE, "three strikes", retryable=False, remedy="release it")
    asked: list[tuple[Key, str]] = []

    def quarantined(key: Key, model_id: str) -> object:
        asked.append((key, model_id))
        return decision

    missing = tmp_path / "gone.gguf"
    explanation = ask(missing, quarantined=quarantined)
    assert explanation.decision == replace(decision, check="quarantine")
    assert asked[0][1] == "gone"
    assert asked[0][0].backend_version == GGUF_VERSION
    assert named(ask(missing, quarantined=quarantined, release=True), "quarantine").result == "pass"


# -- present --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gone.gguf", "gone", "no/such/folder/m.gguf"])
def test_nothing_there(ask: Ask, tmp_path: Path, name: str) -> None:
    explanation = ask(tmp_path / name)
    refused(explanation, "present", Code.MODEL_NOT_FOUND)
    assert named(explanation, "complete").result is CheckResult.UNKNOWN


def test_a_folder_or_file_that_is_no_model(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    for path in (tmp_path / "empty", tmp_path / "notes", tmp_path / "notes" / "a.txt"):
        refused(ask(path), "present", Code.MODEL_NOT_FOUND)


def test_links_to_nothing_and_to_themselves(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "dangling.gguf").symlink_to(tmp_path / "gone")
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    refused(ask(tmp_path / "dangling.gguf"), "present", Code.MODEL_INCOMPLETE)
    refused(ask(tmp_path / "loop.gguf"), "present", Code.MODEL_UNSAFE)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_no_permission_is_said(ask: Ask, model: Path) -> None:
    model.chmod(0)
    explanation = ask(model)
    refused(explanation, "present", Code.MODEL_INCOMPLETE)
    assert "permission" in (explanation.decision or refuse(Code.CONFLICT, "")).message


# -- safe -----------------------------------------------------------------------------------------


def _fifo_model(root: Path) -> Path:
    os.mkfifo(root / "pipe.gguf")
    return root / "pipe.gguf"


def _fifo_config(root: Path) -> Path:
    folder = write_folder(root / "f")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    return folder


def _device(root: Path) -> Path:
    folder = write_folder(root / "f")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("/dev/zero")
    return folder


def _link_out(root: Path) -> Path:
    folder = write_folder(root / "f")
    (root / "outside").write_text("{}")
    (folder / "special_tokens_map.json").symlink_to(root / "outside")
    return folder


def _link_out_gguf(root: Path) -> Path:
    (root / "in").mkdir()
    write_model(root / "out.gguf")
    (root / "in" / "m.gguf").symlink_to(root / "out.gguf")
    return root / "in" / "m.gguf"


def _model_file(root: Path) -> Path:
    return write_folder(root / "f", model_file="evil.py")


def _own_tokenizer(root: Path) -> Path:
    folder = write_folder(root / "f")
    (folder / "tokenizer.json").unlink()
    content = {
        "tokenizer_class": "TikTokenTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return folder


def _pickled(root: Path) -> Path:
    folder = write_folder(root / "f")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def _traversal(root: Path) -> Path:
    folder = write_folder(root / "f")
    index = {"weight_map": {"a": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "make",
    [
        _fifo_model,
        _fifo_config,
        _device,
        _link_out,
        _link_out_gguf,
        _model_file,
        _own_tokenizer,
        _pickled,
        _traversal,
    ],
)
def test_unsafe(ask: Ask, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    unsupporting = ask(path, OVERRIDE, supports=lambda _: False)
    refused(unsupporting, "safe", Code.MODEL_UNSAFE)
    assert not named(unsupporting, "safe").overridable


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", ".", "..", "a\0b", "a\x1b[2Jb"])
def test_index_names_must_be_bare(ask: Ask, folder: Path, name: str) -> None:
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    explanation = ask(folder)
    refused(explanation, "safe", Code.MODEL_UNSAFE)
    assert "\x1b" not in str(explanation)


def test_harmless_leftovers_only_warn(ask: Ask, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (folder / "modeling.py").write_text("raise SystemExit")
    explanation = ask(folder)
    assert explanation.admitted
    assert named(explanation, "safe").result is CheckResult.WARN


def test_a_hugging_face_cache_of_links_is_fine(ask: Ask, tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    folder = write_folder(repository / "snapshots" / "abc")
    (repository / "blobs").mkdir()
    for file in list(folder.iterdir()):
        blob = repository / "blobs" / f"hash-{file.name}"
        file.rename(blob)
        file.symlink_to(Path("../../blobs") / blob.name)
    assert ask(folder).admitted


def test_a_root_of_the_settings_may_be_linked_into(ask: Ask, tmp_path: Path) -> None:
    path = _link_out_gguf(tmp_path)
    assert ask(path, roots=(tmp_path,)).admitted


# -- complete -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"llama__block_count": 0}, "block_count"),
        ({"llama__block_count": 513}, "block_count"),
        ({"llama__block_count": 3}, "layer 2"),
        ({"llama__expert_count": 2**32 - 1}, "experts"),
        ({"llama__embedding_length": 48, "llama__rope__dimension_count": None}, "shape"),
        ({"llama__attention__head_count": 0}, "heads"),
        ({"llama__attention__layer_norm_rms_epsilon": None}, "epsilon"),
        ({"llama__rope__dimension_count": 24}, "rotary"),
        ({"tokenizer__ggml__model": None}, "tokenizer"),
        ({"tokenizer__ggml__tokens": None}, "tokens"),
        ({"tokenizer__ggml__merges": None}, "merges"),
        ({"tokenizer__ggml__model": "llama"}, "byte tokens"),
        ({"tokenizer__ggml__eos_token_id": 258}, "eos"),
        ({"tokenizer__ggml__scores": array("u8", [0] * 258)}, "scores"),
        ({"tokenizer__ggml__scores": array("f32", [0.0] * 3)}, "scores"),
        ({"general__architecture": None}, "architecture"),
        ({"split__count": Typed("u16", 3)}, "split"),
    ],
)
def test_incomplete_gguf(ask: Ask, tmp_path: Path, changes: dict[str, object], words: str) -> None:
    explanation = ask(write_model(tmp_path / "m.gguf", **changes))  # type: ignore[arg-type]
    refused(explanation, "complete", Code.MODEL_INCOMPLETE)
    assert words in named(explanation, "complete").message


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 5000, b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>"],
)
def test_what_a_failed_download_leaves(ask: Ask, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    refused(ask(tmp_path / "m.gguf"), "complete", Code.MODEL_INCOMPLETE)
    folder = write_folder(tmp_path / "f")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        refused(ask(folder), "complete", Code.MODEL_INCOMPLETE)
        (folder / name).write_bytes(whole)


def test_cut_short_at_any_place(ask: Ask, model: Path) -> None:
    whole = model.read_bytes()
    for size in range(0, len(whole), stride(97)):
        model.write_bytes(whole[:size])
        refused(ask(model), "complete", Code.MODEL_INCOMPLETE)


def test_splits(ask: Ask, tmp_path: Path) -> None:
    parts = [tmp_path / f"m-{n:05d}-of-00002.gguf" for n in (1, 2)]
    everything = tensors()
    metadata = {"split.count": Typed("u16", 2), "split.tensors.count": len(everything)}
    first = changed(METADATA, {**metadata, "split.no": Typed("u16", 0)})
    parts[0].write_bytes(gguf_bytes(first, tensors(1)))
    second = [t for t in everything if str(t.name).startswith("blk.1.")]
    parts[1].write_bytes(gguf_bytes({**metadata, "split.no": Typed("u16", 1)}, second))
    assert ask(parts[0]).admitted, ask(parts[0]).decision
    assert ask(parts[1]).path.endswith("00001-of-00002.gguf")
    whole = parts[1].read_bytes()
    parts[1].write_bytes(b"")
    refused(ask(parts[0]), "complete", Code.MODEL_INCOMPLETE)
    parts[1].unlink()
    refused(ask(parts[0]), "complete", Code.MODEL_INCOMPLETE)
    parts[1].write_bytes(whole)
    parts[0].unlink()
    refused(ask(parts[1]), "complete", Code.MODEL_INCOMPLETE)


def _lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


def _config(**changes: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_folder(folder, **changes)

    return write


def _numbered(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def _no_layer(folder: Path) -> None:
    content = safetensors_bytes({"model.layers.0.w": ("F32", (2,), 8)})
    (folder / "model.safetensors").write_bytes(content)


def _sparse(folder: Path) -> None:
    os.truncate(folder / "tokenizer.json", 4 * 1024**3)


@pytest.mark.parametrize(
    "damage",
    [
        _lose("config.json"),
        _lose("tokenizer.json"),
        _lose("model.safetensors"),
        _numbered,
        _no_layer,
        _sparse,
        _write("config.json", "[" * 100_000),
        _write("config.json", "[]"),
        _write("config.json", '{"model_type": NaN}'),
        _write("config.json", '{"num_hidden_layers": ' + "9" * 5000 + "}"),
        _write("generation_config.json", "{"),
        _write("tokenizer_config.json", "\0\0\0"),
        _write("tokenizer.json", "{}"),
        _write("model.safetensors.index.json", "{}"),
        _write("model.safetensors.index.json", '{"weight_map": {"x": "model-2.safetensors"}}'),
        _config(num_hidden_layers=10**9),
        _config(hidden_size=10**12),
        _config(num_attention_heads=0),
        _config(vocab_size="many"),
    ],
)
def test_incomplete_folder(ask: Ask, folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    explanation = ask(folder)
    refused(explanation, "complete", Code.MODEL_INCOMPLETE)


def test_an_index_that_names_absent_files_only_warns_when_every_tensor_is_there(
    ask: Ask, folder: Path
) -> None:
    index = {"weight_map": {"model.layers.0.w": "model-00001-of-00030.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    explanation = ask(folder)
    assert explanation.admitted
    assert named(explanation, "complete").result is CheckResult.WARN


def test_a_script_that_does_not_fit(ask: Ask, tmp_path: Path) -> None:
    path = write_simulated(tmp_path / "s", weights_gb="heavy")
    refused(ask(path), "complete", Code.MODEL_INCOMPLETE)


# -- architecture ---------------------------------------------------------------------------------


def test_an_architecture_the_runtime_does_not_know(ask: Ask, model: Path, folder: Path) -> None:
    for path in (model, folder):
        explanation = ask(path, supports=lambda _: False)
        refused(explanation, "architecture", Code.MODEL_UNSUPPORTED_ARCH)
        assert explanation.decision is not None
        assert explanation.decision.overridable
        unasked = ask(path, supports=lambda _: None)
        assert unasked.admitted
        assert named(unasked, "architecture").result is CheckResult.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general__architecture": "bert"}, "embedding"),
        ({"general__architecture": "nomic-bert"}, "embedding"),
        ({"general__architecture": "clip"}, "mmproj"),
        ({"general__type": "adapter"}, "adapter"),
        ({"general__type": "mmproj"}, "mmproj"),
        ({"llama__pooling_type": 3}, "embedding"),
        ({"general__architecture": "t5"}, "encoder-decoder"),
        ({"general__architecture": "eagle3"}, "draft"),
        ({"llama__attention__causal": False}, "embedding"),
    ],
)
def test_files_that_write_no_text_are_told_without_asking_the_runtime(
    ask: Ask, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    def never(question: str) -> bool:
        raise AssertionError(question)

    path = write_model(tmp_path / "m.gguf", **changes)  # type: ignore[arg-type]
    explanation = ask(path, supports=lambda q: True if q.startswith("pre:") else never(q))
    refused(explanation, "architecture", Code.MODEL_UNSUPPORTED_ARCH)
    assert words in named(explanation, "architecture").message


@pytest.mark.parametrize("value", [None, [], {}, 7, "a b", "../x", "x\x1b[2J", "x" * 65])
def test_a_model_type_that_is_no_name(ask: Ask, tmp_path: Path, value: object) -> None:
    explanation = ask(write_folder(tmp_path / "f", model_type=value))
    refused(explanation, "architecture", Code.MODEL_UNSUPPORTED_ARCH)
    assert "\x1b" not in str(explanation)


def test_an_adapter_folder_and_a_classifier(ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapters.safetensors").write_bytes(safetensors_bytes())
    refused(ask(folder), "architecture", Code.MODEL_UNSUPPORTED_ARCH)
    labels = write_folder(tmp_path / "c", architectures=["LlamaForSequenceClassification"])
    refused(ask(labels), "architecture", Code.MODEL_UNSUPPORTED_ARCH)


def test_a_vision_model_is_admitted_as_text_only_and_says_so(ask: Ask, tmp_path: Path) -> None:
    explanation = ask(write_folder(tmp_path / "v", vision_config={"depth": 2}))
    assert explanation.admitted
    assert "text only" in named(explanation, "architecture").found


# -- backend --------------------------------------------------------------------------------------


def test_a_host_that_cannot_run_the_backend(ask: Ask, model: Path) -> None:
    explanation = ask(model, backend_error="gguf died of SIGILL when it was imported")
    refused(explanation, "backend", Code.MODEL_UNSUPPORTED_BACKEND)
    assert "SIGILL" in (named(explanation, "backend").message)
    assert not named(explanation, "backend").overridable


def test_types_and_pre_tokenizers_the_runtime_does_not_know(ask: Ask, tmp_path: Path) -> None:
    odd = [replace(t, type=8) if str(t.name).endswith("ffn_up.weight") else t for t in tensors()]
    path = write_model(tmp_path / "m.gguf")
    path.write_bytes(gguf_bytes(METADATA, odd))
    refused(ask(path, ggml_types=8), "backend", Code.MODEL_UNSUPPORTED_BACKEND)
    assert ask(path, ggml_types=9).admitted
    explanation = ask(path, supports=lambda question: question != "pre:gpt-2")
    refused(explanation, "backend", Code.MODEL_UNSUPPORTED_BACKEND)


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes(),
        b"PK\x03\x04" + bytes(200),
        b"GGUF" + struct.pack("<I", 4) + bytes(200),
        b"GGUF" + struct.pack(">I", 3) + bytes(200),
        gguf_bytes(tensors=[Tensor("a", (32,), type=36, size=32)]),
    ],
)
def test_a_whole_file_of_another_format_is_never_handed_on(
    ask: Ask, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    for options in (LoadOptions(), OVERRIDE):
        explanation = ask(tmp_path / "m.gguf", options)
        refused(explanation, "backend", Code.MODEL_UNSUPPORTED_BACKEND)
        assert explanation.decision is not None
        assert not explanation.decision.overridable


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization": {"bits": 7, "group_size": 64}},
        {"quantization": {"bits": 4, "group_size": 48}},
        {"quantization": {"bits": 4, "group_size": 64, "mode": "jang"}},
        {"quantization": {"bits": 4, "group_size": 64, "x": {"bits": 9, "group_size": 64}}},
        {"quantization": []},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"quantization_config": {"quant_method": "gptq", "bits": 8}},
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "float-quantized",
            }
        },
    ],
)
def test_quantisations_mlx_does_not_run(
    ask: Ask, tmp_path: Path, changes: dict[str, object]
) -> None:
    path = write_folder(tmp_path / "f", **changes)
    refused(ask(path), "backend", Code.MODEL_UNSUPPORTED_BACKEND)
    assert ask(path, OVERRIDE).admitted


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization": {"bits": 4, "group_size": 64}},
        {"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4", "lm_head": False}},
        {"quantization_config": {"quant_method": "fp8"}},
    ],
)
def test_quantisations_mlx_runs(ask: Ask, tmp_path: Path, changes: dict[str, object]) -> None:
    assert ask(write_folder(tmp_path / "f", **changes)).admitted


@pytest.mark.parametrize("key", ["rms_norm_eps", "num_hidden_layers"])
def test_a_config_without_what_the_runtime_requires(ask: Ask, tmp_path: Path, key: str) -> None:
    """As mlx-lm itself tells; a count may not be null either."""
    path = write_folder(tmp_path / "f")
    config = json.loads((path / "config.json").read_text())
    if key in config:
        config[key] = None
    (path / "config.json").write_text(json.dumps(config))
    refused(ask(path, requires=lambda _: (key,)), "complete", Code.MODEL_INCOMPLETE)
    assert ask(path, requires=lambda _: ("hidden_size",)).admitted


def test_a_weight_type_mlx_does_not_read(ask: Ask, folder: Path) -> None:
    names = ["model.layers.0.w", "model.layers.1.w"]
    content = safetensors_bytes(dict.fromkeys(names, ("F64", (2,), 16)))
    (folder / "model.safetensors").write_bytes(content)
    refused(ask(folder), "backend", Code.MODEL_UNSUPPORTED_BACKEND)


# -- signature ------------------------------------------------------------------------------------


def test_glm_on_mlx_lm_0_30_is_blocked_and_the_override_lifts_it(ask: Ask, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "GLM-5", model_type="glm_moe_dsa")
    known, complaint = load_signatures()
    assert not complaint
    old = ask(path, signatures=known, backend_version="mlx-lm 0.30.7, mlx 0.31.0")
    refused(old, "signature", Code.MODEL_UNSUPPORTED_BACKEND)
    assert "mlx-lm" in named(old, "signature").message
    assert ask(path, signatures=known, backend_version=MLX_VERSION).admitted
    lifted = ask(path, OVERRIDE, signatures=known, backend_version="mlx-lm 0.30.7, mlx 0.31.0")
    assert lifted.admitted
    assert named(lifted, "signature").result is CheckResult.SKIPPED
    assert "would have refused" in named(lifted, "signature").found


# -- registry -------------------------------------------------------------------------------------


def _verdict(outcome: str) -> Callable[[Key], RegistryRow]:
    return lambda key: RegistryRow(
        1.0, "m", key.backend, key.backend_version, outcome, "decode empty", {"event": "canary"}
    )


@pytest.mark.parametrize(
    ("evidence", "found"),
    [({"id": "e\x1b1"}, "e␛1"), ({"id": 7}, None), ("none", None), ({}, None)],
)
def test_a_refusal_by_the_registry_names_its_evidence(
    evidence: object, found: str | None, ask: Ask, model: Path
) -> None:
    def verdict(key: Key) -> RegistryRow:
        return replace(_verdict("fail")(key), metadata={"event": "canary", "evidence": evidence})

    decision = ask(model, verdict=verdict).decision
    assert decision is not None
    assert (decision.check, decision.evidence_id) == ("registry", found)


def test_the_registry_refuses_what_failed_here(ask: Ask, model: Path) -> None:
    refused(ask(model, verdict=_verdict("fail")), "registry", Code.MODEL_UNSUPPORTED_BACKEND)
    assert "decode empty" in named(ask(model, verdict=_verdict("fail")), "registry").message
    assert ask(model, OVERRIDE, verdict=_verdict("fail")).admitted
    released = ask(model, release=True, verdict=_verdict("fail"))
    assert released.admitted
    assert named(released, "registry").result is CheckResult.SKIPPED
    assert "passed" in named(ask(model, verdict=_verdict("pass")), "registry").found
    assert "never tried here" in named(ask(model), "registry").found


def test_files_that_were_touched_since_open_the_case_again(ask: Ask, model: Path) -> None:
    def verdict(key: Key) -> RegistryRow:
        row = _verdict("fail")(key)
        return replace(row, metadata={**row.metadata, "stamp": "then"})

    refused(ask(model, verdict=verdict, stamp="then"), "registry", Code.MODEL_UNSUPPORTED_BACKEND)
    refused(ask(model, verdict=verdict), "registry", Code.MODEL_UNSUPPORTED_BACKEND)
    touched = ask(model, verdict=verdict, stamp="now")
    assert touched.admitted
    assert "touched" in named(touched, "registry").found
    # A verdict of old, without a stamp, still decides.
    refused(
        ask(model, verdict=_verdict("fail"), stamp="now"),
        "registry",
        Code.MODEL_UNSUPPORTED_BACKEND,
    )


# -- memory ---------------------------------------------------------------------------------------


def test_room_is_the_budget_less_what_is_promised(ask: Ask, model: Path) -> None:
    need = ask(model).estimate
    assert need is not None
    assert ask(model, budget=need.total).admitted
    explanation = ask(model, budget=need.total, reserved=1)
    refused(explanation, "memory", Code.INSUFFICIENT_MEMORY)
    assert not named(explanation, "memory").overridable
    refused(ask(model, OVERRIDE, budget=0), "memory", Code.INSUFFICIENT_MEMORY)


def test_a_device_that_holds_less_than_the_budget_bounds_it(ask: Ask, model: Path) -> None:
    need = ask(model).estimate
    assert need is not None
    plenty = 10 * need.total
    assert ask(model, budget=plenty, device_limit=need.total).admitted
    assert ask(model, budget=need.total, device_limit=plenty).admitted
    explanation = ask(model, budget=plenty, device_limit=need.total - 1)
    refused(explanation, "memory", Code.INSUFFICIENT_MEMORY)
    assert "device's working set" in named(explanation, "memory").expected
    assert "iogpu.wired_limit_mb" in named(explanation, "memory").remedy


def test_what_was_not_returned_is_not_there(ask: Ask, model: Path) -> None:
    need = ask(model).estimate
    assert need is not None
    explanation = ask(model, budget=need.total, lost=1)
    refused(explanation, "memory", Code.INSUFFICIENT_MEMORY)
    assert "not being returned" in named(explanation, "memory").expected
    assert "reboot" in named(explanation, "memory").remedy


def test_a_stated_reservation_is_the_figure(ask: Ask, model: Path) -> None:
    options = LoadOptions(reserve_gb=0.05)
    explanation = ask(model, options, budget=50_000_000)
    assert explanation.admitted
    assert explanation.estimate is not None
    assert explanation.estimate.total == 50_000_000
    assert "reserve_gb" in named(explanation, "memory").found


def test_a_longer_context_needs_more(ask: Ask, model: Path, folder: Path) -> None:
    for path in (model, folder):
        short = ask(path, LoadOptions(context=1000)).estimate
        long = ask(path, LoadOptions(context=2000)).estimate
        assert short is not None
        assert long is not None
        assert long.cache > short.cache > 0


# -- the whole gate -------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_answer(ask: Ask, model: Path, folder: Path) -> None:
    def facts() -> dict[str, object]:
        return {"budget": 1000, "verdict": _verdict("fail")}

    for path in (model, folder):
        assert ask(path, **facts()) == ask(path, **facts())


def test_every_failure_is_listed_and_the_first_decides(ask: Ask, folder: Path) -> None:
    explanation = ask(
        folder, supports=lambda _: False, backend_error="gone", verdict=_verdict("fail"), budget=0
    )
    blockers = [check.check for check in explanation.blockers]
    assert blockers == ["architecture", "backend", "registry", "memory"]
    refused(explanation, "architecture", Code.MODEL_UNSUPPORTED_ARCH)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    supported=st.sampled_from([True, False, None]),
    error=st.sampled_from(["", "no wheel for this machine"]),
    budget=st.sampled_from([0, 10**12]),
    quarantined=st.booleans(),
    failed=st.booleans(),
    blocked=st.booleans(),
    damage=st.sampled_from(["", "model_file", "cut", "gone"]),
    release=st.booleans(),
)
def test_the_override_never_reaches_quarantine_safety_completeness_or_memory(
    ask: Ask,
    tmp_path: Path,
    supported: bool | None,
    error: str,
    budget: int,
    quarantined: bool,
    failed: bool,
    blocked: bool,
    damage: str,
    release: bool,
) -> None:
    path = write_folder(tmp_path / "f", model_file="x.py" if damage == "model_file" else None)
    if damage == "cut":
        os.truncate(path / "model.safetensors", 20)
    if damage == "gone":
        path = tmp_path / "gone"
    decision = refuse(Code.MODEL_UNSTABLE, "struck", remedy="release")
    signature = Signature("s", Backend.MLX, "bad", "here", architectures=("llama",))
    facts: dict[str, object] = {
        "supports": lambda _: supported,
        "backend_error": error,
        "budget": budget,
        "quarantined": lambda _key, _id: decision if quarantined else None,
        "verdict": _verdict("fail") if failed else (lambda _: None),
        "signatures": (signature,) if blocked else (),
    }
    plain = ask(path, release=release, **facts)
    over = ask(path, OVERRIDE, release, **facts)
    for name in ("quarantine", "present", "safe", "complete", "memory"):
        assert named(plain, name) == named(over, name)
    for name in ("architecture", "signature", "registry"):
        assert named(over, name).result is not CheckResult.FAIL
    for explanation in (plain, over):
        first = next((c for c in explanation.checks if c.result is CheckResult.FAIL), None)
        assert explanation.admitted is (first is None)
        assert explanation.decision is None or explanation.decision.check == first.check  # type: ignore[union-attr]


def test_an_exception_in_a_check_is_a_refusal_and_never_escapes(
    ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("by \x1b[2J")

    monkeypatch.setattr(architecture, "check", broken)
    for options in (LoadOptions(), OVERRIDE):
        explanation = ask(model, options)
        refused(explanation, "architecture", Code.UNKNOWN_FAILURE)
        assert "ZeroDivisionError" in named(explanation, "architecture").message
        assert "\x1b" not in str(explanation)


def test_facts_that_raise_do_not_escape_either(ask: Ask, model: Path) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk")

    explanation = ask(model, verdict=broken)
    refused(explanation, "registry", Code.UNKNOWN_FAILURE)


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_mutated_model_gives_one_answer_twice(
    ask: Ask, tmp_path: Path, data: st.DataObject
) -> None:
    path = write_model(tmp_path / "m.gguf")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    first = ask(path)
    assert first == ask(path)
    assert first.decision is None or first.decision.code is not Code.UNKNOWN_FAILURE
    assert questions(resolve_path(path)) == questions(resolve_path(path))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["bits", "group_size", "mode", "quant_method", "format", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_KEYS = (
    *("model_type", "architectures", "auto_map", "text_config", "vision_config"),
    *("quantization", "quantization_config", "layer_types", "sliding_window", "head_dim"),
    *("num_key_value_heads", "kv_lora_rank", "full_attention_interval", "num_hidden_layers"),
)


@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    config=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=5),
    index=_JSON,
    tokenizer=_JSON,
)
def test_whatever_stands_in_the_json_files_there_is_one_answer(
    tmp_path: Path, config: dict[str, object], index: object, tokenizer: object
) -> None:
    folder = write_folder(tmp_path / "f", **config)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": tokenizer, "tokenizer_class": tokenizer})
    )
    entry = CatalogEntry("f", folder, Backend.MLX, folder, "folder")
    for known in (True, None):
        facts = Facts(supports=lambda _, known=known: known, budget=10**12)  # type: ignore[misc]
        explanation = gate.explain(entry, facts, OVERRIDE if known is None else None)
        assert all(check.code != Code.UNKNOWN_FAILURE for check in explanation.checks)
    questions(entry)
