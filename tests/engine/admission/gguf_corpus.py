"""Damaged, hostile and healthy GGUF files, each with the code the gate must give."""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tests.engine.admission.case import BACKEND, BROKEN, GONE, KIND, Case, Make
from tests.engine.admission.models import METADATA, PIECED, PIECES, TOKENS, WIDTH, changed, tensors
from tests.forge import Tensor, Typed, array, gguf_bytes, safetensors_bytes


def content(data: bytes | Callable[[], bytes], name: str = "m.gguf") -> Make:
    """A single file with these bytes."""

    def make(root: Path) -> Path:
        path = root / name
        path.write_bytes(data() if callable(data) else data)
        return path

    return make


def gguf(
    changes: Mapping[str, object] | None = None,
    base: Mapping[str, object] = METADATA,
    vocabulary: int | None = None,
    parts: list[Tensor] | None = None,
    **options: object,
) -> Make:
    """A small llama with some of its metadata changed; None takes a key out."""

    def data() -> bytes:
        metadata = changed(base, changes or {})
        tokens = metadata.get("tokenizer.ggml.tokens")
        size = len(tokens) if isinstance(tokens, list) else len(TOKENS)
        found = tensors(vocabulary=vocabulary or size) if parts is None else parts
        return gguf_bytes(metadata, found, **options)  # type: ignore[arg-type]

    return content(data)


def without(name: str) -> list[Tensor]:
    return [tensor for tensor in tensors() if tensor.name != name]


def with_(name: str, **changes: object) -> list[Tensor]:
    """Every tensor, one of them changed."""
    return [replace(t, **changes) if t.name == name else t for t in tensors()]  # type: ignore[arg-type]


def words(tokens: list[str], base: Mapping[str, object] = METADATA, model: str = "gpt2") -> Make:
    """A model with another vocabulary."""
    kinds = array("i32", [1] * len(tokens))
    changes: dict[str, object] = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.scores": array("f32", [0.0] * len(tokens)),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }
    return gguf(changes, base)


def renamed(architecture: str, **more: object) -> Make:
    """The same metadata under another architecture's name, as far as a header goes."""
    keys = {
        key.replace("llama.", f"{architecture}.", 1) if key.startswith("llama.") else key: value
        for key, value in METADATA.items()
    }
    return gguf({"general.architecture": architecture, **more}, keys)


def split(
    root: Path,
    *,
    count: int = 2,
    second: bytes | None = None,
    odd: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """A model in two files; ``odd`` replaces metadata of the second."""
    everything = tensors()
    shared = {"split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", len(everything))}
    half = [t for t in everything if not str(t.name).startswith("blk.1.")]
    rest = [t for t in everything if t not in half]
    first = root / f"m-00001-of-{count:05d}.gguf"
    first.write_bytes(gguf_bytes({**METADATA, **shared, "split.no": Typed("u16", 0)}, half))
    later = {**shared, "split.no": Typed("u16", 1)} | dict(odd)
    data = gguf_bytes(later, rest) if second is None else second
    (root / f"m-00002-of-{count:05d}.gguf").write_bytes(data)
    return first


def missing_split(root: Path) -> Path:
    first = split(root)
    (root / "m-00002-of-00002.gguf").unlink()
    return first


def later_split(root: Path) -> Path:
    split(root)
    return root / "m-00002-of-00002.gguf"


def second_only(root: Path) -> Path:
    split(root).unlink()
    return root / "m-00002-of-00002.gguf"


def renamed_split(root: Path) -> Path:
    return split(root).rename(root / "whole.gguf")


def repeated_split(root: Path) -> Path:
    first = split(root)
    data = gguf_bytes({"split.count": Typed("u16", 2), "split.no": Typed("u16", 1)}, [tensors()[1]])
    (root / "m-00002-of-00002.gguf").write_bytes(data)
    return first


def promised(root: Path) -> Path:
    return gguf()(root).rename(root / "m-00001-of-00003.gguf")


def projector_beside(root: Path) -> Path:
    gguf()(root)
    content(gguf_bytes({"general.architecture": "clip"}), "mmproj-m.gguf")(root)
    return root


def several(root: Path) -> Path:
    for name in ("m-Q4_0.gguf", "m-Q8_0.gguf"):
        gguf()(root).rename(root / name)
    return root


def tar() -> bytes:
    """A real tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("config.json"))
    return out.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
HTML = b"<!DOCTYPE html><html><body>404</body></html>"
HUGE = 2**32 - 1

GGUF: dict[str, Case] = {
    # what is in the file instead
    "LFS pointer": Case(content(LFS), BROKEN, "complete", row=12),
    "HTML page": Case(content(HTML), BROKEN, "complete", row=12),
    "NUL-filled": Case(content(bytes(8192)), BROKEN, "complete", row=52),
    "0 bytes": Case(content(b""), BROKEN, "complete", row=24),
    "zip": Case(content(b"PK\x03\x04" + bytes(99)), BACKEND, "backend", row=12),
    "gzip": Case(content(b"\x1f\x8b\x08" + bytes(99)), BACKEND, "backend", row=12),
    "png": Case(content(b"\x89PNG\r\n\x1a\n" + bytes(99)), BACKEND, "backend", row=12),
    "tar": Case(content(tar), BACKEND, "backend", row=12),
    "pickle": Case(content(b"\x80\x05" + bytes(99)), BACKEND, "backend", row=12),
    "safetensors": Case(content(safetensors_bytes()), BACKEND, "backend", row=12),
    "text": Case(content(b"hello, I am a model\n" * 9), BROKEN, "complete", row=12),
    "version 0": Case(gguf(version=0), BROKEN, "complete", row=13),
    "version 1": Case(gguf(version=1), BACKEND, "backend", row=13),
    "version 4": Case(gguf(version=4), BACKEND, "backend", row=13),
    "big-endian": Case(gguf(version=3 << 24), BACKEND, "backend", row=13),
    "cut in the header": Case(content(lambda: gguf_bytes(METADATA)[:900]), BROKEN, "complete"),
    "cut in the weights": Case(gguf(cut=999), BROKEN, "complete", row=11),
    # architecture
    "unknown architecture": Case(renamed("gemma99"), KIND, "architecture", row=1),
    "clip": Case(renamed("clip"), KIND, "architecture", row=2),
    "mmproj by type": Case(gguf({"general.type": "mmproj"}), KIND, "architecture", row=2),
    "embedding": Case(renamed("nomic-bert"), KIND, "architecture", row=34),
    "pooling": Case(gguf({"llama.pooling_type": 1}), KIND, "architecture", row=34),
    "not causal": Case(gguf({"llama.attention.causal": False}), KIND, "architecture", row=34),
    "adapter": Case(gguf({"general.type": "adapter"}), KIND, "architecture"),
    "old adapter": Case(gguf({"adapter.type": "lora"}), KIND, "architecture"),
    "no architecture": Case(gguf({"general.architecture": None}), BROKEN, "complete", row=20),
    # keys
    "block_count 0": Case(gguf({"llama.block_count": 0}), BROKEN, "complete", row=35),
    "block_count 513": Case(gguf({"llama.block_count": 513}), BROKEN, "complete", row=35),
    "block_count -1": Case(gguf({"llama.block_count": HUGE}), BROKEN, "complete", row=35),
    "layers missing": Case(gguf({"llama.block_count": 3}), BROKEN, "complete", row=6),
    "experts -1": Case(gguf({"llama.expert_count": HUGE}), BROKEN, "complete"),
    "experts, none used": Case(gguf({"llama.expert_count": 4}), BROKEN, "complete"),
    "experts used, none there": Case(gguf({"llama.expert_used_count": 2}), BROKEN, "complete"),
    "groups of no experts": Case(gguf({"llama.expert_group_count": 2}), BROKEN, "complete"),
    "only prediction layers": Case(gguf({"llama.nextn_predict_layers": 9}), BROKEN, "complete"),
    "heads 0": Case(gguf({"llama.attention.head_count": 0}), BROKEN, "complete"),
    "heads that do not divide": Case(gguf({"llama.attention.head_count": 3}), BROKEN, "complete"),
    "kv heads that do not": Case(gguf({"llama.attention.head_count_kv": 3}), BROKEN, "complete"),
    "no epsilon": Case(
        gguf({"llama.attention.layer_norm_rms_epsilon": None}), BROKEN, "complete", row=20
    ),
    "epsilon NaN": Case(
        gguf({"llama.attention.layer_norm_rms_epsilon": float("nan")}), BROKEN, "complete"
    ),
    "epsilon -1": Case(gguf({"llama.attention.layer_norm_rms_epsilon": -1.0}), BROKEN, "complete"),
    "epsilon as f64": Case(
        gguf({"llama.attention.layer_norm_rms_epsilon": Typed("f64", 1e-5)}), BROKEN, "complete"
    ),
    "block_count as i32": Case(gguf({"llama.block_count": Typed("i32", 2)}), BROKEN, "complete"),
    "eos as text": Case(gguf({"tokenizer.ggml.eos_token_id": "2"}), BROKEN, "complete"),
    "rope scaling": Case(gguf({"llama.rope.scaling.type": "x"}), BROKEN, "complete"),
    "rotary size": Case(gguf({"llama.rope.dimension_count": 24}), BROKEN, "complete", row=7),
    "context 0": Case(gguf({"llama.context_length": 0}), BROKEN, "complete", row=20),
    # tokenizer
    "no tokenizer": Case(gguf({"tokenizer.ggml.model": None}), BROKEN, "complete", row=20),
    "no tokens": Case(gguf({"tokenizer.ggml.tokens": None}), BROKEN, "complete", row=20),
    "no merges": Case(gguf({"tokenizer.ggml.merges": None}), BROKEN, "complete", row=19),
    "short scores": Case(
        gguf({"tokenizer.ggml.scores": array("f32", [0.0])}, PIECED), BROKEN, "complete"
    ),
    "scores of bytes": Case(
        gguf({"tokenizer.ggml.scores": array("u8", [0] * len(PIECES))}, PIECED), BROKEN, "complete"
    ),
    "short token types": Case(gguf({"tokenizer.ggml.token_type": [1, 1]}), BROKEN, "complete"),
    "no byte tokens": Case(
        words(["<unk>", "<s>", "</s>", "a"], PIECED, "llama"), BROKEN, "complete", row=36
    ),
    "byte tokens in lower case": Case(
        words([*PIECES[:3], *(p.lower() for p in PIECES[3:259])], PIECED, "llama"),
        BROKEN,
        "complete",
        row=36,
    ),
    "a token twice": Case(words([*TOKENS, "ab"]), BROKEN, "complete"),
    "a token twice behind a zero": Case(words([*TOKENS, "ab\0c"]), BROKEN, "complete"),
    "bos outside": Case(gguf({"tokenizer.ggml.bos_token_id": 999}), BROKEN, "complete"),
    "eos outside": Case(gguf({"tokenizer.ggml.eos_token_id": HUGE}), BROKEN, "complete"),
    "unknown tokenizer": Case(gguf({"tokenizer.ggml.model": "nonesuch"}), BACKEND, "backend"),
    "unknown pre-tokenizer": Case(
        gguf({"tokenizer.ggml.pre": "nonesuch"}), BACKEND, "backend", row=18
    ),
    # tensors
    "vocabulary only": Case(gguf(parts=[]), BROKEN, "complete", row=6),
    "no embedding": Case(gguf(parts=without("token_embd.weight")), BROKEN, "complete", row=6),
    "no attention": Case(gguf(parts=without("blk.1.attn_k.weight")), BROKEN, "complete", row=6),
    "no output norm": Case(gguf(parts=without("output_norm.weight")), BROKEN, "complete", row=6),
    "wrong shape": Case(
        gguf(parts=with_("blk.0.ffn_up.weight", shape=(WIDTH, WIDTH))), BROKEN, "complete", row=7
    ),
    "wrong vocabulary": Case(gguf(vocabulary=9), BROKEN, "complete", row=7),
    "removed type": Case(
        gguf(parts=with_("blk.0.ffn_up.weight", type=36, size=64)), BACKEND, "backend", row=15
    ),
    "newer type": Case(
        gguf(parts=with_("blk.0.ffn_up.weight", type=77, size=64)), BACKEND, "backend", row=14
    ),
    "norm in 16 bits": Case(
        gguf(parts=with_("blk.0.attn_norm.weight", type=1)), BACKEND, "backend"
    ),
    "weights in 64-bit integers": Case(
        gguf(parts=with_("blk.0.attn_q.weight", type=27)), BACKEND, "backend"
    ),
    # splits
    "missing split": Case(missing_split, BROKEN, "complete", row=21),
    "second split 0 bytes": Case(lambda r: split(r, second=b""), BROKEN, "complete", row=24),
    "second split only": Case(second_only, BROKEN, "complete", row=22),
    "renamed split": Case(renamed_split, BROKEN, "complete", row=23),
    "split number": Case(
        lambda r: split(r, odd={"split.no": Typed("u16", 0)}), BROKEN, "complete", row=22
    ),
    "split of another count": Case(
        lambda r: split(r, odd={"split.count": Typed("u16", 3)}), BROKEN, "complete"
    ),
    "split by name of three": Case(lambda r: split(r, count=3), BROKEN, "complete", row=23),
    "split that repeats": Case(repeated_split, BROKEN, "complete"),
    "one of three by name": Case(promised, BROKEN, "complete", row=21),
    "many in a folder": Case(several, GONE, "present"),
    # healthy
    "bpe": Case(gguf()),
    "sentencepiece": Case(gguf(base=PIECED)),
    "no bos": Case(gguf({"tokenizer.ggml.bos_token_id": None})),
    "untied": Case(gguf(parts=[*tensors(), Tensor("output.weight", (WIDTH, len(TOKENS)))])),
    "with a template": Case(gguf({"tokenizer.chat_template": "{{ messages }}"})),
    "two splits": Case(split),
    "the later split": Case(later_split, row=22),
    "beside its projector": Case(projector_beside),
    "version 2": Case(gguf(version=2)),
    "bytes behind": Case(gguf(extra=b"more")),
    "qwen2": Case(renamed("qwen2")),
    "gemma3": Case(renamed("gemma3")),
    "phi3": Case(renamed("phi3")),
    "granite": Case(renamed("granite")),
    **{f"quantised as {kind}": Case(gguf(parts=tensors(kind=kind))) for kind in (1, 2, 3, 8)},
}
