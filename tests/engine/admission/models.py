"""Whole small models of both formats, written by the tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.types import Check, Explanation
from tests.forge import Tensor, array, gguf_bytes, safetensors_bytes

GGUF_VERSION = "llama-cpp-python 0.3.36"
MLX_VERSION = "mlx-lm 0.32.2, mlx 0.32.4"
WIDTH, LAYERS, HEADS, INNER = 32, 2, 2, 64


def _bytes() -> list[str]:
    """The 256 characters that byte-level BPE spells bytes with, in its own order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


TOKENS = [*_bytes(), "ab", "<|end|>"]
VOCABULARY = len(TOKENS)
METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.block_count": LAYERS,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": 16,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [1] * 257 + [3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 257,
    "tokenizer.ggml.eos_token_id": 257,
}
"""A llama of 30 thousand parameters that llama.cpp loads and runs."""
PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "\u2581", "a", "b", "ab"]
_BPE_ONLY = ("tokenizer.ggml.merges", "tokenizer.ggml.pre")
PIECED: dict[str, object] = {
    **{key: value for key, value in METADATA.items() if key not in _BPE_ONLY},
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": PIECES,
    "tokenizer.ggml.scores": array("f32", [0.0] * len(PIECES)),
    "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, 1, 1, 1, 1],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}
"""The same with a SentencePiece vocabulary."""
CONFIG: dict[str, object] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": 2,
    "vocab_size": 4,
}
TOKENIZER = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3}, "merges": []},
    "added_tokens": [],
}


def tensors(layers: int = LAYERS, kind: int = 0, vocabulary: int = VOCABULARY) -> list[Tensor]:
    """Every tensor of the small llama; its matrices of one GGML type."""
    square, wide, tall = (WIDTH, WIDTH), (WIDTH, INNER), (INNER, WIDTH)
    parts = {
        **{f"attn_{name}": square for name in ("q", "k", "v", "output")},
        "ffn_gate": wide,
        "ffn_up": wide,
        "ffn_down": tall,
    }
    found = [Tensor("token_embd.weight", (WIDTH, vocabulary), kind)]
    for n in range(layers):
        found += [Tensor(f"blk.{n}.{name}_norm.weight", (WIDTH,)) for name in ("attn", "ffn")]
        found += [Tensor(f"blk.{n}.{name}.weight", shape, kind) for name, shape in parts.items()]
    return [*found, Tensor("output_norm.weight", (WIDTH,))]


def changed(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """The base with some values replaced; None takes a key out."""
    merged = {**base, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def write_model(path: Path, *, cut: int = 0, layers: int = LAYERS, **changes: object) -> Path:
    """A whole small GGUF; ``__`` in a name stands for a dot."""
    renamed = {key.replace("__", "."): value for key, value in changes.items()}
    path.write_bytes(gguf_bytes(changed(METADATA, renamed), tensors(layers), cut=cut))
    return path


def write_folder(folder: Path, **changes: object) -> Path:
    """A whole small MLX folder; changes are to its config."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["model.embed_tokens.weight", *(f"model.layers.{n}.w" for n in range(LAYERS))]
    (folder / "config.json").write_text(json.dumps(changed(CONFIG, changes)))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "model.safetensors").write_bytes(
        safetensors_bytes(dict.fromkeys(names, ("F32", (2,), 8)))
    )
    return folder


Ask = Callable[..., Explanation]


def named(explanation: Explanation, name: str) -> Check:
    """One check of an explanation."""
    return next(check for check in explanation.checks if check.check == name)
