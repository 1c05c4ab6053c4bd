"""The MLX starter's weights and model config, made from the tensors inside its GGUF."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GROUP_SIZE = 32
BITS = 4
"""A Q4_1 block is 32 weights of 4 bits with a scale and an offset: MLX's affine kind as it is."""
_WHOLE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def rename(name: str) -> str:
    """A llama tensor's name in Hugging Face's words, from llama.cpp's.

    Raises:
        KeyError: no tensor of a llama goes by this name.
    """
    if name.startswith("blk."):
        _, layer, tensor, part = name.split(".")
        return f"model.layers.{layer}.{_IN_LAYER[tensor]}.{part}"
    tensor, part = name.split(".")
    return f"{_WHOLE[tensor]}.{part}"


def convert(tensors: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors with the names and the row order MLX's llama expects.

    llama.cpp stores q and k with the two halves of each head interleaved, since it rotates
    neighbouring pairs where Hugging Face rotates halves; the rows of a tensor and of its scales
    and offsets move alike.
    """
    heads = {
        "attn_q": metadata["llama.attention.head_count"].item(),
        "attn_k": metadata["llama.attention.head_count_kv"].item(),
    }
    converted = {}
    for name, tensor in tensors.items():
        kind = name.split(".")[-2]
        if kind in heads:
            rows, columns = tensor.shape
            half = rows // heads[kind] // 2
            pairs = tensor.reshape(heads[kind], half, 2, columns)
            tensor = pairs.swapaxes(1, 2).reshape(rows, columns)  # noqa: PLW2901
        converted[rename(name)] = tensor
    return converted


def _odd_widths(tensors: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The layers whose weights are packed with another width, by name.

    mlx-lm 0.32 sees it by their shapes; 0.31 wants it said.
    """
    odd = {}
    for name, scales in tensors.items():
        layer = name.removesuffix(".scales")
        if layer == name:
            continue
        packed = tensors[f"{layer}.weight"].shape[-1] * 32
        bits = packed // (scales.shape[-1] * GROUP_SIZE)
        if bits != BITS:
            converted = rename(f"{layer}.weight").removesuffix(".weight")
            odd[converted] = {"group_size": GROUP_SIZE, "bits": bits}
    return odd


def write_config(tensors: Mapping[str, Any], metadata: Mapping[str, Any], folder: Path) -> None:
    """Write ``config.json`` and ``generation_config.json``, the former last.

    ``config.json`` is what makes the folder a model, for the catalog and for MLX.
    """

    def figure(name: str) -> Any:
        return metadata[f"llama.{name}"].item()

    special = {
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"].item(),
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"].item(),
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"].item(),
    }
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": figure("vocab_size"),
        "hidden_size": figure("embedding_length"),
        "intermediate_size": figure("feed_forward_length"),
        "num_hidden_layers": figure("block_count"),
        "num_attention_heads": figure("attention.head_count"),
        "num_key_value_heads": figure("attention.head_count_kv"),
        "head_dim": figure("rope.dimension_count"),
        "max_position_embeddings": figure("context_length"),
        "rope_theta": figure("rope.freq_base"),
        # The file holds it in 32 bits, where 1e-05 reads as 9.9999997e-06.
        "rms_norm_eps": float(f"{figure('attention.layer_norm_rms_epsilon'):.6g}"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "quantization": {"group_size": GROUP_SIZE, "bits": BITS, **_odd_widths(tensors)},
        **special,
    }
    for name, content in (("generation_config.json", special), ("config.json", config)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
