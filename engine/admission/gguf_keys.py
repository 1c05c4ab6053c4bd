"""A GGUF's keys: their types and bounds, as far as llama.cpp relies on them for every architecture.

The types are those with which its loader asks for each key (another one is an error there); some of
the bounds it enforces by ending the process (measured on 0.3.36).
"""

import math
from collections.abc import Iterator, Mapping

from engine.admission.gap import CONVERT, Gap
from engine.catalog.gguf import GgufArray, GgufHeader

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS: above it llama.cpp aborts."""
MAX_EXPERTS = 512
"""LLAMA_MAX_EXPERTS."""
ROPE_SCALING = frozenset({"none", "linear", "yarn", "longrope"})
"""Every type of scaling llama.cpp has a name for; another one ends it with an assertion."""
_NUMBER = (
    *("block_count", "context_length", "embedding_length", "vocab_size", "expert_count"),
    *("expert_group_count", "expert_group_used_count", "nextn_predict_layers", "pooling_type"),
    *("attention.key_length", "attention.value_length", "rope.dimension_count"),
)
_EACH_LAYER = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")
_REAL = (
    *("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"),
    *("rope.freq_base", "rope.scaling.factor", "rope.scaling.attn_factor"),
)
_SPECIAL = ("bos", "eos", "eot", "eom", "unknown", "padding", "seperator", "mask", "fim_pre")
_FIXED = {
    "general.name": "string",
    "general.file_type": "u32",
    "tokenizer.ggml.pre": "string",
    "tokenizer.ggml.token_type_count": "u32",
    **{f"tokenizer.ggml.{name}_token_id": "u32" for name in _SPECIAL},
    **{f"tokenizer.ggml.add_{name}": "bool" for name in ("bos_token", "eos_token", "space_prefix")},
}
_EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")
# Architectures that all have the same keys, so that a missing one can be named.
PLAIN = frozenset({"llama", "qwen2", "qwen3"})


def keys(name: str, header: GgufHeader) -> Iterator[Gap]:
    """The gaps in the keys of a file whose architecture is ``name``."""
    yield from _types(name, header.types)
    yield from _bounds(name, header.metadata)
    yield from _experts(name, header.metadata)
    yield from _numbers(name, header.metadata)
    if name in PLAIN:
        yield from _plain(name, header.metadata)


def _types(name: str, types: Mapping[str, str]) -> Iterator[Gap]:
    expected: dict[str, tuple[str, ...]] = {key: (kind,) for key, kind in _FIXED.items()}
    expected |= {f"{name}.{key}": ("u32",) for key in _NUMBER}
    expected |= {f"{name}.{key}": ("u32", "array") for key in _EACH_LAYER}
    expected |= {f"{name}.{key}": ("f32",) for key in _REAL}
    expected |= {f"{name}.rope.scaling.type": ("string",), f"{name}.attention.causal": ("bool",)}
    for key, kinds in expected.items():
        found = types.get(key)
        if found is not None and found not in kinds:
            yield Gap(f"{key} has the wrong type", f"{key} as {' or '.join(kinds)}", found, CONVERT)


def _bounds(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    for key, least, most in (
        ("block_count", 1, MAX_LAYERS),
        ("embedding_length", 1, 1_000_000),
        ("context_length", 1, 2**31 - 1),
    ):
        value = metadata.get(f"{name}.{key}")
        if value is None:
            yield Gap(f"{name}.{key} is missing", f"{name}.{key}", "none", CONVERT)
        elif not _within(value, least, most):
            expected = f"{least:,} to {most:,}"
            yield Gap(f"{name}.{key} is out of bounds", expected, shown(value), CONVERT)
    yield from _lists(name, metadata)
    for key in ("head_count", "head_count_kv"):
        heads = metadata.get(f"{name}.attention.{key}")
        if heads is not None and not all(_within(each, 0, 100_000) for each in _each(heads)):
            found = shown(heads)
            yield Gap("its number of heads is out of bounds", "0 to 100,000", found, CONVERT)
    extra, layers = (
        metadata.get(f"{name}.nextn_predict_layers"),
        metadata.get(f"{name}.block_count"),
    )
    if isinstance(extra, int) and isinstance(layers, int) and extra >= layers:
        words = f"fewer than {layers:,}"
        yield Gap("it has only prediction layers", words, shown(extra), CONVERT)


def _lists(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    """A value given for each layer is given for every layer."""
    layers = metadata.get(f"{name}.block_count")
    if f"{name}.nextn_predict_layers" in metadata:
        return  # which do not always count
    for key in _EACH_LAYER:
        value = metadata.get(f"{name}.{key}")
        if isinstance(value, GgufArray) and value.length != layers:
            expected, found = f"{shown(layers)} numbers", f"{value.length:,}"
            yield Gap(f"{name}.{key} does not name every layer", expected, found, CONVERT)


def _experts(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    """The assertions llama.cpp makes on a mixture of experts."""
    experts = metadata.get(f"{name}.expert_count", 0)
    if not isinstance(experts, int) or not 0 <= experts <= MAX_EXPERTS:
        found = shown(experts)
        yield Gap("its number of experts is out of bounds", f"0 to {MAX_EXPERTS}", found, CONVERT)
        return
    used = metadata.get(f"{name}.expert_used_count", 0)
    for each in _each(used):
        if not _within(each, min(experts, 1), experts):
            expected = f"{min(experts, 1)} to {experts}"
            yield Gap("it uses more experts than it has, or none", expected, shown(each), CONVERT)
            return
    groups = metadata.get(f"{name}.expert_group_count", 0)
    grouped = metadata.get(f"{name}.expert_group_used_count", 0)
    if not isinstance(groups, int) or groups == 0:
        return
    fits = 0 < groups < experts and experts % groups == 0
    if not fits or (groups > 1 and not _within(grouped, 1, groups - 1)):
        found = f"{groups:,} groups of which {shown(grouped)} are used"
        expected = f"groups that {experts} experts divide into"
        yield Gap("its groups of experts do not fit", expected, found, CONVERT)


def _numbers(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    for key in _EPSILONS:
        value = metadata.get(f"{name}.{key}")
        if isinstance(value, float) and not 0 <= value < math.inf:
            # ggml asserts eps >= 0 in the first computation.
            yield Gap(f"{name}.{key} is no small number", "0 or more", repr(value), CONVERT)
    scaling = metadata.get(f"{name}.rope.scaling.type")
    if isinstance(scaling, str) and scaling not in ROPE_SCALING:
        expected = ", ".join(sorted(ROPE_SCALING))
        yield Gap("its rope scaling is of no known type", expected, repr(scaling)[:60], CONVERT)


def _plain(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    heads = metadata.get(f"{name}.attention.head_count")
    if heads is None or not all(_within(each, 1, 100_000) for each in _each(heads)):
        yield Gap("it names no attention heads", "at least 1 head", shown(heads), CONVERT)
        return
    key = f"{name}.attention.layer_norm_rms_epsilon"
    if not isinstance(metadata.get(key), float):
        yield Gap(f"{key} is missing", key, "none", CONVERT)
    if f"{name}.feed_forward_length" not in metadata and not metadata.get(f"{name}.expert_count"):
        yield Gap(f"{name}.feed_forward_length is missing", "its number", "none", CONVERT)
    width = metadata.get(f"{name}.embedding_length")
    if isinstance(heads, int) and isinstance(width, int):
        head = metadata.get(f"{name}.attention.key_length", width // heads)
        rotated = metadata.get(f"{name}.rope.dimension_count", head)
        if name == "llama" and rotated != head:
            found = shown(rotated)
            yield Gap("its rotary size is not its head's", shown(head), found, CONVERT)
        if f"{name}.attention.key_length" not in metadata and width % heads:
            expected = f"heads that divide {width:,}"
            yield Gap("its heads do not divide its width", expected, shown(heads), CONVERT)
        shared = metadata.get(f"{name}.attention.head_count_kv", heads)
        if isinstance(shared, int) and (shared < 1 or heads % shared):
            expected = f"key-value heads that divide {heads:,}"
            yield Gap("its key-value heads do not fit", expected, shown(shared), CONVERT)


def _each(value: object) -> tuple[object, ...]:
    """One number for all layers, or the numbers of each as far as they were kept."""
    if isinstance(value, GgufArray):
        return value.values or ()
    return (value,)


def _within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def shown(value: object) -> str:
    """A metadata value in a few characters."""
    if isinstance(value, GgufArray):
        return f"an array of {value.length:,}"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else repr(value)[:60]
