"""A real MLX model too small to say anything: two layers of random weights over single bytes.

It runs through the same loaders, caches and kernels as a large one, in a millisecond a token, and
greedy decoding says the same of the same prompt: enough to see a cache, a batch or an end go wrong.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.backends.mlx import MlxBackend
from engine.workers.protocol import Load

END = "<|end|>"
WINDOW = 16
KINDS = {
    "full": ("llama", {}),
    "window": (
        "llama",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW},
    ),
    "hybrid": (
        "lfm2",
        {
            "norm_eps": 1e-5,
            "conv_bias": False,
            "conv_L_cache": 3,
            "block_dim": 64,
            "block_ff_dim": 128,
            "block_multiple_of": 32,
            "block_ffn_dim_multiplier": 1.0,
            "block_auto_adjust_ff_dim": False,
            "full_attn_idxs": [1],
        },
    ),
}
"""By what their layers keep of a sequence: everything, the last tokens of it, or a state that
cannot be wound back."""


def write_tiny(folder: Path, kind: str = "full") -> Path:
    """Write the folder."""
    pytest.importorskip("mlx.core")
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.utils import _get_classes
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True)
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: at for at, sign in enumerate(signs)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    model_type, more = KINDS[kind]
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": len(signs) + 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "eos_token_id": len(signs),
        **more,
    }
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(7)
    of_model, of_arguments = _get_classes(config)
    model = of_model(of_arguments.from_dict(config))
    # Larger than trained weights are, so that what was said before decides what is said next.
    weights = {
        name: mx.random.normal(array.shape) * (3 / array.shape[-1] ** 0.5)
        if array.ndim > 1
        else array
        for name, array in tree_flatten(model.parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    return folder


def load_tiny(folder: Path, *, context: int = 512, slots: int = 4, **more: Any) -> MlxBackend:
    """A backend with it loaded; close it."""
    backend = MlxBackend(**more)
    spec = Load(model_id="tiny", path=str(folder), context=context, slots=slots)
    backend.load(spec, lambda *_: None)
    return backend
