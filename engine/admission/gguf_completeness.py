"""Completeness of a GGUF model: splits, tokenizer, required keys, a tensor for every layer.

The reader has already proved the header itself; this looks at what it says. The bounds are
llama.cpp's own, some of which it enforces by aborting the process (facts/failure-modes 0.1).
"""

import re
from collections.abc import Iterator, Mapping

from engine.admission import answer
from engine.admission.gap import AGAIN, CHECK, EXPECTED, Gap, gap_of
from engine.admission.kind import foreign_kind
from engine.admission.subject import MOST_SPLITS, NAMES_FOREIGN, Subject
from engine.catalog.gguf import GgufArray, GgufHeader, GgufTensor, split_of
from engine.catalog.header import HeaderError
from engine.types import Check

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS: above it llama.cpp aborts."""
MAX_EXPERTS = 512
"""LLAMA_MAX_EXPERTS."""
MAX_VOCABULARY = 10_000_000
BYTES = 256
_CONVERT = "convert the model again, or take another source"
_BLOCK = re.compile(r"blk\.(\d{1,6})\.")
# Pruned models whose layers may hold nothing at all.
_PRUNED = frozenset({"deci"})
# Architectures whose layers all have the same parts, so that a missing one can be named.
_PLAIN = frozenset({"llama", "qwen2", "qwen3"})
_PLAIN_PARTS = (
    ("attn_norm.weight",),
    ("attn_q.weight", "attn_qkv.weight"),
    ("attn_k.weight", "attn_qkv.weight"),
    ("attn_v.weight", "attn_qkv.weight"),
    ("attn_output.weight",),
    ("ffn_norm.weight",),
    ("ffn_down.weight", "ffn_down_exps.weight", "ffn_down.0.weight"),
    ("ffn_up.weight", "ffn_up_exps.weight", "ffn_up.0.weight", "ffn_gate_up_exps.weight"),
)


def judge(subject: Subject) -> Check | Gap:
    """The check's answer, or the first gap found."""
    header = subject.header
    if isinstance(header, HeaderError):
        if header.kind in NAMES_FOREIGN:
            return answer.unknown(CHECK, EXPECTED, f"{header.found}: see the backend check")
        return gap_of(subject.source.name, header)
    headers: list[GgufHeader] = [header]
    for name, split in subject.splits:
        if isinstance(split, HeaderError):
            if split.kind in NAMES_FOREIGN:
                return answer.unknown(CHECK, EXPECTED, f"{name}: {split.found}")
            return gap_of(name, split)
        headers.append(split)
    if gap := _splits(subject, header, headers):
        return gap
    if words := foreign_kind(subject):
        return answer.passed(CHECK, EXPECTED, f"{words}: its header is whole")
    tensors = {tensor.name: tensor for one in headers for tensor in one.tensors}
    for gap in _gaps(subject, header.metadata, tensors):
        return gap
    files = f" in {len(headers)} files" if len(headers) > 1 else ""
    return answer.passed(CHECK, EXPECTED, f"{len(tensors):,} tensors{files}, all within bounds")


def _gaps(
    subject: Subject, metadata: Mapping[str, object], tensors: Mapping[str, GgufTensor]
) -> Iterator[Gap]:
    name = metadata.get("general.architecture")
    if not isinstance(name, str) or not name:
        yield Gap(
            "the file names no architecture",
            "general.architecture as a text",
            "none" if name is None else repr(name)[:60],
            _CONVERT,
        )
        return
    yield from _tokenizer(metadata)
    yield from _bounds(name, metadata)
    yield from _tensors(name, metadata, tensors, subject.vocabulary)


# -- splits ---------------------------------------------------------------------------------------


def _splits(subject: Subject, first: GgufHeader, headers: list[GgufHeader]) -> Gap | None:
    count, name = first.split_count, subject.source.name
    if count < 2:
        return None
    named = split_of(name)
    if named is None or named[2] != count:
        return Gap(
            f"{name} is one of {count} splits and no longer has its split's name",
            f"a name ending in -00001-of-{min(count, 99_999):05d}.gguf",
            name,
            "give every split its original name",
        )
    if count > MOST_SPLITS:
        return Gap("it claims too many splits", f"at most {MOST_SPLITS}", f"{count:,}")
    if first.split_no != 0 or named[1] != 1:
        return Gap(
            f"{name} is split {first.split_no + 1} of {count}, not the first",
            "the first split",
            f"split {first.split_no + 1}",
            "name the first split; the others are found by it",
        )
    for number, header in enumerate(headers):
        if header.split_no != number or header.split_count != count:
            found = f"split {header.split_no + 1} of {header.split_count}"
            return Gap(
                f"the file named as split {number + 1} is another one",
                f"split {number + 1} of {count}",
                found,
            )
    total = sum(len(header.tensors) for header in headers)
    if first.split_tensors_count and total != first.split_tensors_count:
        return Gap(
            "its splits do not hold every tensor",
            f"{first.split_tensors_count:,} tensors",
            f"{total:,}",
        )
    return None


# -- tokenizer ------------------------------------------------------------------------------------


def _tokenizer(metadata: Mapping[str, object]) -> Iterator[Gap]:
    model = metadata.get("tokenizer.ggml.model")
    if not isinstance(model, str):
        yield Gap("it has no tokenizer", "tokenizer.ggml.model", "none", _CONVERT)
        return
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GgufArray) or tokens.element_type != "string" or not tokens.length:
        yield Gap("its tokenizer has no tokens", "tokenizer.ggml.tokens", "none", _CONVERT)
        return
    if tokens.length > MAX_VOCABULARY:
        yield Gap(
            "its vocabulary is too large", f"at most {MAX_VOCABULARY:,}", f"{tokens.length:,}"
        )
    for key, types in (("scores", {"f32"}), ("token_type", {"i32", "u32"})):
        array = metadata.get(f"tokenizer.ggml.{key}")
        if array is None:
            continue
        good = isinstance(array, GgufArray) and array.element_type in types
        if not good or not isinstance(array, GgufArray) or array.length != tokens.length:
            found = (
                f"{array.length:,} of {array.element_type}"
                if isinstance(array, GgufArray)
                else "no array"
            )
            expected = f"{tokens.length:,} of {'/'.join(sorted(types))}"
            yield Gap(
                f"tokenizer.ggml.{key} does not fit the vocabulary", expected, found, _CONVERT
            )
    if model == "gpt2":
        merges = metadata.get("tokenizer.ggml.merges")
        if not isinstance(merges, GgufArray) or not merges.length:
            yield Gap("its tokenizer has no merges", "tokenizer.ggml.merges", "none", _CONVERT)
    if model == "llama" and tokens.byte_tokens < BYTES:
        # llama.cpp looks them up without a fallback: std::terminate at the first tokenize (row 36).
        found = f"{tokens.byte_tokens} of {BYTES}"
        yield Gap(
            "its tokenizer lacks byte tokens", f"{BYTES} tokens <0x00>…<0xFF>", found, _CONVERT
        )
    for key in ("bos", "eos"):
        token = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token, int) and not 0 <= token < tokens.length:
            expected = f"a token below {tokens.length:,}"
            yield Gap(
                f"its {key} token is outside the vocabulary", expected, f"{token:,}", _CONVERT
            )


# -- metadata -------------------------------------------------------------------------------------


def _bounds(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    for key, least, most in (
        ("block_count", 1, MAX_LAYERS),
        ("embedding_length", 1, 1_000_000),
        ("context_length", 1, 2**31 - 1),
    ):
        value = metadata.get(f"{name}.{key}")
        if value is None:
            yield Gap(f"{name}.{key} is missing", f"{name}.{key}", "none", _CONVERT)
        elif not _within(value, least, most):
            yield Gap(
                f"{name}.{key} is out of bounds",
                f"{least:,} to {most:,}",
                _shown(value),
                _CONVERT,
            )
    heads = metadata.get(f"{name}.attention.head_count")
    if heads is not None and not isinstance(heads, GgufArray) and not _within(heads, 0, 100_000):
        yield Gap("its number of heads is out of bounds", "0 to 100,000", _shown(heads), _CONVERT)
    experts = metadata.get(f"{name}.expert_count", 0)
    used = metadata.get(f"{name}.expert_used_count", 0)
    if not isinstance(experts, int) or not 0 <= experts <= MAX_EXPERTS:
        found = _shown(experts)
        yield Gap("its number of experts is out of bounds", f"0 to {MAX_EXPERTS}", found, _CONVERT)
    elif not _within(used, 0, experts):
        yield Gap("it uses more experts than it has", f"at most {experts}", _shown(used), _CONVERT)
    if name in _PLAIN:
        yield from _plain_bounds(name, metadata)


def _plain_bounds(name: str, metadata: Mapping[str, object]) -> Iterator[Gap]:
    heads = metadata.get(f"{name}.attention.head_count")
    if not isinstance(heads, GgufArray) and not _within(heads, 1, 100_000):
        yield Gap("it names no attention heads", "at least 1 head", _shown(heads), _CONVERT)
        return
    key = f"{name}.attention.layer_norm_rms_epsilon"
    if not isinstance(metadata.get(key), float):
        yield Gap(f"{key} is missing", key, "none", _CONVERT)
    width = metadata.get(f"{name}.embedding_length")
    rotated = metadata.get(f"{name}.rope.dimension_count")
    if name == "llama" and isinstance(heads, int) and isinstance(width, int):
        head = metadata.get(f"{name}.attention.key_length", width // heads)
        if rotated is not None and rotated != head:
            found = _shown(rotated)
            yield Gap("its rotary size is not its head's", _shown(head), found, _CONVERT)


def _within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _shown(value: object) -> str:
    if isinstance(value, GgufArray):
        return f"an array of {value.length:,}"
    return f"{value:,}" if isinstance(value, int) else repr(value)[:60]


# -- tensors --------------------------------------------------------------------------------------


def _tensors(
    name: str, metadata: Mapping[str, object], tensors: Mapping[str, GgufTensor], vocabulary: int
) -> Iterator[Gap]:
    if not tensors:
        yield Gap("it holds a vocabulary and no weights", "tensors", "none", AGAIN)
        return
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        yield Gap("its token embedding is missing", "tensor token_embd.weight", "none")
        return
    width = metadata.get(f"{name}.embedding_length")
    expected = (width, vocabulary)
    if embedding.dimensions[:2] != expected:
        found = " × ".join(f"{dimension:,}" for dimension in embedding.dimensions)
        words = f"{_shown(width)} × {vocabulary:,}"
        yield Gap("its token embedding has the wrong shape", words, found, _CONVERT)
    blocks: dict[int, set[str]] = {}
    for tensor in tensors:
        if match := _BLOCK.match(tensor):
            blocks.setdefault(int(match[1]), set()).add(tensor[match.end() :])
    count = metadata.get(f"{name}.block_count")
    for number in range(count if isinstance(count, int) else 0):
        if number not in blocks and name not in _PRUNED:
            yield Gap(
                f"the weights of layer {number} are missing", f"{_shown(count)} layers", "no tensor"
            )
            return
        if name not in _PLAIN:
            continue
        for ways in _PLAIN_PARTS:
            if blocks[number].isdisjoint(ways):
                tensor = f"blk.{number}.{ways[0]}"
                yield Gap(f"the tensor {tensor} is missing", tensor, "none")
                return
