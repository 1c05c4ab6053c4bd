"""Completeness of a GGUF's tensors: an embedding, and for every layer what it cannot be without."""

import re
from collections.abc import Iterator, Mapping

from engine.admission.gap import AGAIN, CONVERT, Gap
from engine.admission.gguf_keys import PLAIN, shown
from engine.catalog.gguf import GgufTensor

_BLOCK = re.compile(r"blk\.(\d{1,6})\.")
# Pruned models whose layers may hold nothing at all.
_PRUNED = frozenset({"deci"})
_PARTS = (
    ("attn_norm.weight",),
    ("attn_q.weight", "attn_qkv.weight"),
    ("attn_k.weight", "attn_qkv.weight"),
    ("attn_v.weight", "attn_qkv.weight"),
    ("attn_output.weight",),
    ("ffn_norm.weight",),
    ("ffn_gate.weight", "ffn_gate_exps.weight", "ffn_gate.0.weight", "ffn_gate_up_exps.weight"),
    ("ffn_down.weight", "ffn_down_exps.weight", "ffn_down.0.weight"),
    ("ffn_up.weight", "ffn_up_exps.weight", "ffn_up.0.weight", "ffn_gate_up_exps.weight"),
)
"""What every layer of a plain architecture holds, in each of the ways it is stored."""


def tensors_of(
    name: str, metadata: Mapping[str, object], tensors: Mapping[str, GgufTensor], vocabulary: int
) -> Iterator[Gap]:
    """The gaps in the tensors of a file whose architecture is ``name``.

    Args:
        vocabulary: How many tokens its tokenizer has.
    """
    if not tensors:
        yield Gap("it holds a vocabulary and no weights", "tensors", "none", AGAIN)
        return
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        yield Gap("its token embedding is missing", "tensor token_embd.weight", "none")
        return
    width = metadata.get(f"{name}.embedding_length")
    if _lengths(embedding.dimensions) != _lengths((width, vocabulary)):
        words = f"{shown(width)} × {vocabulary:,}"
        yield Gap("its token embedding has the wrong shape", words, _words(embedding), CONVERT)
    blocks: dict[int, set[str]] = {}
    for tensor in tensors:
        if match := _BLOCK.match(tensor):
            blocks.setdefault(int(match[1]), set()).add(tensor[match.end() :])
    count = metadata.get(f"{name}.block_count")
    for number in range(count if isinstance(count, int) else 0):
        if number not in blocks and name not in _PRUNED:
            words = f"the weights of layer {number} are missing"
            yield Gap(words, f"{shown(count)} layers", "no tensor")
            return
        if name not in PLAIN:
            continue
        for ways in _PARTS:
            if blocks[number].isdisjoint(ways):
                tensor = f"blk.{number}.{ways[0]}"
                yield Gap(f"the tensor {tensor} is missing", tensor, "none")
                return
    if name in PLAIN:
        if isinstance(count, int) and (more := max(blocks, default=0)) >= count:
            words = "it has weights of more layers than it says"
            yield Gap(words, f"{count:,} layers", f"a layer {more:,}", CONVERT)
        if "output_norm.weight" not in tensors:
            yield Gap("the tensor output_norm.weight is missing", "output_norm.weight", "none")
        yield from _shapes(name, metadata, tensors, vocabulary)


def _shapes(
    name: str, metadata: Mapping[str, object], tensors: Mapping[str, GgufTensor], vocabulary: int
) -> Iterator[Gap]:
    """Shapes that do not follow from the keys; llama.cpp refuses them too (row 7)."""
    width, heads = (
        metadata.get(f"{name}.{key}") for key in ("embedding_length", "attention.head_count")
    )
    if not isinstance(width, int) or not isinstance(heads, int) or heads < 1:
        return  # one number for each layer: told by the load
    shared = metadata.get(f"{name}.attention.head_count_kv", heads)
    inner = metadata.get(f"{name}.feed_forward_length")
    key = metadata.get(f"{name}.attention.key_length", width // heads)
    value = metadata.get(f"{name}.attention.value_length", width // heads)
    if not isinstance(shared, int) or not isinstance(key, int) or not isinstance(value, int):
        return
    expected: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (width,),
        "attn_q.weight": (width, heads * key),
        "attn_k.weight": (width, shared * key),
        "attn_v.weight": (width, shared * value),
        "attn_output.weight": (heads * value, width),
        "ffn_norm.weight": (width,),
    }
    if isinstance(inner, int):
        expected |= {
            "ffn_gate.weight": (width, inner),
            "ffn_down.weight": (inner, width),
            "ffn_up.weight": (width, inner),
        }
    whole = {"output_norm.weight": (width,), "output.weight": (width, vocabulary)}
    for tensor in tensors.values():
        match = _BLOCK.match(tensor.name)
        part = tensor.name[match.end() :] if match else ""
        lengths = expected.get(part) if match else whole.get(tensor.name)
        if lengths is not None and _lengths(tensor.dimensions) != _lengths(lengths):
            words = " × ".join(f"{length:,}" for length in lengths)
            yield Gap(f"{tensor.name} has the wrong shape", words, _words(tensor), CONVERT)
            return


def _lengths(lengths: tuple[object, ...]) -> tuple[object, ...]:
    """Dimensions without the ones at the end, which mean nothing."""
    while len(lengths) > 1 and lengths[-1] == 1:
        lengths = lengths[:-1]
    return lengths


def _words(tensor: GgufTensor) -> str:
    return " × ".join(f"{dimension:,}" for dimension in tensor.dimensions) or "a single number"
