"""Whole small models of both formats, written by the tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.types import Check, Explanation
from tests.forge import Tensor, gguf_bytes, safetensors_bytes

GGUF_VERSION = "llama-cpp-python 0.3.36"
MLX_VERSION = "mlx-lm 0.32.2, mlx 0.32.4"
WIDTH, LAYERS, VOCABULARY = 32, 2, 4
_PARTS = (
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_norm",
    "ffn_down",
    "ffn_up",
)

METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.block_count": LAYERS,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": 16,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "c", "d"],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 3,
}
CONFIG: dict[str, object] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": 2,
    "vocab_size": VOCABULARY,
}
TOKENIZER = {"model": {"type": "BPE"}, "added_tokens": []}


def tensors(layers: int = LAYERS) -> list[Tensor]:
    names = [f"blk.{n}.{part}.weight" for n in range(layers) for part in _PARTS]
    embedding = Tensor("token_embd.weight", (WIDTH, VOCABULARY))
    return [embedding, *(Tensor(name, (WIDTH,)) for name in names)]


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
