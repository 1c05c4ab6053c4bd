"""How much memory a load will take: weights, cache for the chosen context, and the rest.

An upper bound rather than a guess: a refused load costs an operator a minute, a machine out of
memory costs everybody everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.catalog.entry import CatalogEntry
from engine.catalog.gguf import GgufArray
from engine.types import Backend, MemoryEstimate

GB = 1_000_000_000
_HALF = 2
"""Bytes of one number in the cache: both backends keep it in 16 bits."""
_BATCH = 512
"""Tokens llama.cpp computes at once (its default n_ubatch): it reserves logits for all of them."""
_PROBE = 512
"""Cells the GGUF backend keeps for probes, beside those of requests."""
_BASE = {
    Backend.GGUF: 150_000_000,
    Backend.MLX: 300_000_000,
    Backend.SIMULATED: 0,
}
"""A worker before its model: 48 MB (llama.cpp) and 83 MB (mlx-lm) resident after the import on
Linux, with room for the tokenizer, the template and the buffers both make on first use."""
_RECURRENT = frozenset({"linear_attention", "mamba", "conv"})
_MOST_LAYERS = 100_000
_MOST_WIDTH = 10_000_000


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What one token costs in the cache, in bytes, as far as the metadata tells."""

    per_token: int
    """In the layers that keep every token."""
    windowed_per_token: int = 0
    """In the layers that keep the last ``window`` tokens only."""
    window: int = 0
    per_sequence: int = 0
    """The fixed state of recurrent layers."""
    vocabulary: int = 0
    width: int = 0
    latent: bool = False
    """One compressed vector for all heads, which every rank of a split model keeps whole."""

    def bytes_for(self, context: int, slots: int) -> int:
        """The cache of ``slots`` sequences of ``context`` tokens."""
        near = min(context, self.window) if self.window else context
        one = self.per_token * context + self.windowed_per_token * near + self.per_sequence
        return one * slots

    def bytes_pooled(self, context: int, slots: int) -> int:
        """The cache where all sequences share one pool of cells, as the GGUF backend makes it:
        as large as one full context, and ``_PROBE`` cells for the canary's questions."""
        cells, sequences = context + _PROBE, slots + 1
        near = min(cells, self.window * sequences + _BATCH) if self.window else cells
        pool = self.per_token * cells + self.windowed_per_token * near
        return pool + self.per_sequence * sequences


def _count(value: object, most: int) -> int | None:
    """A plain whole number in 0…most, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    return None


def gguf_shape(metadata: Mapping[str, object], vocabulary: int = 0) -> CacheShape | None:
    """The cache's shape by a GGUF's metadata, or None where the keys for it are missing.

    Sliding windows are not credited: which layers have one is not in the header. Layers without
    heads (recurrent ones) keep nothing per token.
    """
    name = metadata.get("general.architecture")

    def value(key: str) -> object:
        return metadata.get(f"{name}.{key}")

    layers = _count(value("block_count"), _MOST_LAYERS)
    width = _count(value("embedding_length"), _MOST_WIDTH)
    if not layers or not width:
        return None
    heads = _per_layer(value("attention.head_count"), layers)
    if heads is None:
        return None
    kv_heads = _per_layer(value("attention.head_count_kv"), layers) or heads
    most_heads = max(heads)
    default = width // most_heads if most_heads else 0
    key = _count(value("attention.key_length"), _MOST_WIDTH)
    val = _count(value("attention.value_length"), _MOST_WIDTH)
    both = (default if key is None else key) + (default if val is None else val)
    total = sum(kv_heads) * both * _HALF
    interval = _count(value("full_attention_interval"), _MOST_LAYERS)
    if interval and interval > 1:
        total //= interval
    inner = _count(value("ssm.inner_size"), _MOST_WIDTH) or 0
    state = _count(value("ssm.state_size"), _MOST_WIDTH) or 0
    return CacheShape(
        total, per_sequence=inner * state * 4 * layers, vocabulary=vocabulary, width=width
    )


def _per_layer(value: object, layers: int) -> list[int] | None:
    """One number for all layers, or a list of one for each, as GGUF has both."""
    one = _count(value, _MOST_WIDTH)
    if one is not None:
        return [one] * layers
    if not isinstance(value, GgufArray) or value.values is None or value.length != layers:
        return None
    each = [_count(item, _MOST_WIDTH) for item in value.values]
    return None if None in each else [item for item in each if item is not None]


def flattened(config: Mapping[str, object]) -> Mapping[str, object]:
    """A config with what it says of its text model beside the rest: models that see have both."""
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, Mapping) else config


def config_shape(config: Mapping[str, object]) -> CacheShape | None:
    """The cache's shape by a config.json, or None where the keys for it are missing."""
    config = flattened(config)
    layers = _count(config.get("num_hidden_layers", config.get("n_layer")), _MOST_LAYERS)
    width = _count(config.get("hidden_size", config.get("n_embd")), _MOST_WIDTH)
    heads = _count(config.get("num_attention_heads", config.get("n_head")), _MOST_WIDTH)
    if not layers or not width or not heads:
        return None
    vocabulary = _count(config.get("vocab_size"), _MOST_WIDTH) or 0
    latent = _count(config.get("kv_lora_rank"), _MOST_WIDTH)
    if latent:  # multi-head latent attention keeps one compressed vector per token and layer
        rope = _count(config.get("qk_rope_head_dim"), _MOST_WIDTH) or 0
        layer = (latent + rope) * _HALF
    else:
        kv_heads = _count(config.get("num_key_value_heads"), _MOST_WIDTH)
        head = _count(config.get("head_dim"), _MOST_WIDTH)
        dimension = width // heads if head is None else head
        layer = 2 * (heads if kv_heads is None else kv_heads) * dimension * _HALF
    full, near = _kinds_of_layer(config, layers)
    window = _count(config.get("sliding_window"), _MOST_WIDTH) or 0
    if not window:
        full, near = full + near, 0
    return CacheShape(
        layer * full,
        layer * near,
        window,
        vocabulary=vocabulary,
        width=width,
        latent=bool(latent),
    )


def _kinds_of_layer(config: Mapping[str, object], layers: int) -> tuple[int, int]:
    """How many layers keep every token, and how many a window of them."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == layers:
        near = sum(kind == "sliding_attention" for kind in kinds)
        recurrent = sum(kind in _RECURRENT for kind in kinds if isinstance(kind, str))
        return layers - near - recurrent, near
    interval = _count(config.get("full_attention_interval"), _MOST_LAYERS)
    if interval and interval > 1:
        return -(-layers // interval), 0
    return layers, 0


def estimate(
    entry: CatalogEntry,
    shape: CacheShape | None,
    context: int,
    slots: int,
    reserve_gb: float | None = None,
    *,
    weights: int | None = None,
    ranks: int = 1,
    whole: int = 0,
) -> MemoryEstimate:
    """What loading this model will take, in bytes.

    Args:
        shape: The cache's shape; None leaves the cache out, and the caller should say so.
        context: Tokens each sequence may hold.
        slots: Sequences decoded at once. Under MLX each has a cache of its own.
        reserve_gb: An operator's own figure, which replaces the sum.
        weights: Bytes of weights where the catalog's figure is not the right one.
        ranks: Processes the model is split among; the estimate is of all of them.
        whole: Bytes of weights each of them keeps all of.
    """
    size = (entry.weight_bytes if weights is None else weights) + (ranks - 1) * whole
    base = _BASE[entry.backend]
    cache = 0
    if shape is not None and entry.backend is not Backend.SIMULATED:
        pooled = entry.backend is Backend.GGUF
        cache = shape.bytes_pooled(context, slots) if pooled else shape.bytes_for(context, slots)
        cache *= ranks if shape.latent else 1
        base += _BATCH * (shape.vocabulary + 8 * shape.width) * 4
    stated = None if reserve_gb is None else int(reserve_gb * GB)
    return MemoryEstimate(size, cache, base * ranks, context, stated, ranks)
