"""The shapes of a folder's tensors against its config: a config of another model loads nothing.

Only for the plain decoder that most models are built as, whose every matrix follows from six
numbers, and only where all of its tensors are there: what is missing, or named in another way, is
for the load to judge. The rules are mlx-lm's own (``models/llama.py``, ``models/qwen2.py``,
``models/qwen3.py`` and ``utils.infer_quant_config`` of 0.32).
"""

from collections.abc import Iterator, Mapping

from engine.admission.gap import Gap

PLAIN = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types of that build."""
_WORD = 32
"""Bits of one element of a packed matrix."""
_PACKED_BITS = frozenset({2, 3, 4, 5, 6, 8})
_MEND = "put back the config.json that belongs to these weights, or download the model again"
Shape = tuple[int, ...]


def gap(config: Mapping[str, object], shapes: Mapping[str, Shape]) -> Gap | None:
    """The first tensor that does not have the shape config.json asks for, or None.

    Args:
        shapes: The shape of every tensor of the folder, by name.
    """
    wanted = dict(_wanted(config))
    if not wanted or any(name not in shapes for name in wanted):
        return None
    for name, shape in wanted.items():
        if found := _misfit(name, shape, shapes):
            expected = f"{name} of {_words(shape)}"
            return Gap("its weights do not fit its config.json", expected, found, _MEND)
    return None


def _wanted(config: Mapping[str, object]) -> Iterator[tuple[str, Shape]]:
    """Every weight such a model must have, with its shape before it was quantised."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in PLAIN:
        return
    if "quantization_config" in config and "quantization" not in config:
        return  # packed by other rules, which mlx-lm unpacks as it loads
    layers, width, heads, inner, words = (
        positive(config.get(name))
        for name in (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
        )
    )
    if not (layers and width and heads and inner and words):
        return
    own = 0 if kind == "qwen2" else positive(config.get("head_dim"))  # which has no such key
    head = own or width // heads
    shared = positive(config.get("num_key_value_heads")) or heads
    yield "model.embed_tokens.weight", (words, width)
    yield "model.norm.weight", (width,)
    for number in range(layers):
        at = f"model.layers.{number}"
        yield f"{at}.input_layernorm.weight", (width,)
        yield f"{at}.post_attention_layernorm.weight", (width,)
        yield f"{at}.self_attn.q_proj.weight", (heads * head, width)
        yield f"{at}.self_attn.k_proj.weight", (shared * head, width)
        yield f"{at}.self_attn.v_proj.weight", (shared * head, width)
        yield f"{at}.self_attn.o_proj.weight", (width, heads * head)
        yield f"{at}.mlp.gate_proj.weight", (inner, width)
        yield f"{at}.mlp.up_proj.weight", (inner, width)
        yield f"{at}.mlp.down_proj.weight", (width, inner)
    if config.get("tie_word_embeddings", True) is False:
        yield "lm_head.weight", (words, width)


def _misfit(name: str, wanted: Shape, shapes: Mapping[str, Shape]) -> str:
    """What is there instead of the wanted shape, or empty."""
    found = shapes[name]
    scales = shapes.get(name.removesuffix("weight") + "scales")
    if scales is None or len(wanted) == 1:
        return "" if found == wanted else _words(found)
    rows, columns = wanted
    packed = f"{_words(found)} packed, scales of {_words(scales)}"
    if len(found) != 2 or len(scales) != 2 or found[0] != rows or scales[0] != rows:
        return packed
    bits, left = divmod(found[1] * _WORD, columns)
    groups = scales[1]
    if left or bits not in _PACKED_BITS or not groups or columns % groups:
        return packed
    return ""


def _words(shape: Shape) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "no dimension"


def positive(value: object) -> int:
    """A plain number above 0, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
