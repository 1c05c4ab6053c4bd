"""Completeness of a model folder: config, weights against the index, tokenizer."""

import re
from collections.abc import Iterator, Mapping

from engine.admission import answer
from engine.admission.gap import CHECK, EXPECTED, Gap, gap_of
from engine.admission.kind import foreign_kind
from engine.admission.subject import GENERATION, NAMES_FOREIGN, TOKENIZER, Subject
from engine.catalog.folder import CONFIG, INDEX, SHARD_PATTERN, TOKENIZER_CONFIG
from engine.catalog.header import HeaderError
from engine.types import Check

_MEND = "mend config.json, or download the model again"
_SHARD = re.compile(r"(?P<stem>model.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.safetensors")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,6})\.")
_OTHER_TOKENIZERS = ("tokenizer.model", "tiktoken.model", "spiece.model", "vocab.txt")
# Upper bounds far above any model; a wild value hangs mlx-lm or overflows (facts 1.1).
_RANGES = (
    ("num_hidden_layers", 1, 10_000),
    ("hidden_size", 1, 1_000_000),
    ("num_attention_heads", 1, 100_000),
    ("num_key_value_heads", 0, 100_000),
    ("head_dim", 1, 100_000),
    ("intermediate_size", 0, 100_000_000),
    ("vocab_size", 1, 10_000_000),
    ("num_experts", 0, 10_000),
    ("num_local_experts", 0, 10_000),
    ("n_routed_experts", 0, 10_000),
    ("max_position_embeddings", 1, 2**31 - 1),
)


def judge(subject: Subject) -> Check | Gap:
    """The check's answer, or the first gap found."""
    if foreign_kind(subject) and subject.json(CONFIG) is None:
        return answer.passed(CHECK, EXPECTED, "an adapter: see the architecture check")
    if gap := next(_config(subject), None):
        return gap
    if isinstance(found := _weights(subject), Gap):
        return found
    if gap := next(_tokenizer(subject), None):
        return gap
    return found


# -- config ---------------------------------------------------------------------------------------


def _config(subject: Subject) -> Iterator[Gap]:
    config = subject.json(CONFIG)
    if config is None:
        yield Gap("config.json is missing", CONFIG, "none")
        return
    if isinstance(config, HeaderError):
        yield gap_of(CONFIG, config)
        return
    generation = subject.json(GENERATION)
    if isinstance(generation, HeaderError):
        yield gap_of(GENERATION, generation)
    text = config.get("text_config")
    for part in (config, text) if isinstance(text, Mapping) else (config,):
        for name, least, most in _RANGES:
            value = part.get(name)
            if value is None:
                continue
            if type(value) is int and least <= value <= most:
                continue
            if isinstance(value, list):  # one figure per layer, as some hybrids have it
                continue
            expected = f"{name} from {least:,} to {most:,}"
            found = repr(value)[:60]
            yield Gap(f"{name} in config.json is out of bounds", expected, found, _MEND)


# -- weights --------------------------------------------------------------------------------------


def _weights(subject: Subject) -> Check | Gap:
    shards = subject.shards
    for name, header in shards.items():
        if isinstance(header, HeaderError):
            if header.kind in NAMES_FOREIGN:
                words = f"{name}: {header.found}: see the backend check"
                return answer.unknown(CHECK, EXPECTED, words)
            return gap_of(name, header)
    tensors = {
        tensor.name
        for header in shards.values()
        if not isinstance(header, HeaderError)
        for tensor in header.tensors
    }
    index = subject.json(INDEX)
    if isinstance(index, HeaderError):
        return gap_of(INDEX, index)
    warning = ""
    if index is not None:
        found = _against_index(index, set(shards), tensors)
        if isinstance(found, Gap):
            return found
        warning = found
    elif gap := _by_name(shards):
        return gap
    if not shards:
        others = [name for name in subject.names() if name.endswith(".safetensors")]
        found = ", ".join(others[:3]) or "no weights"
        return Gap("there are no weights", SHARD_PATTERN, found)
    if not tensors:
        return Gap("its weight files are empty", "tensors", "none")
    if gap := _layers(subject, tensors):
        return gap
    if warning:
        return answer.warned(CHECK, EXPECTED, warning)
    files = f"{len(shards):,} weight file" + ("s" if len(shards) > 1 else "")
    return answer.passed(CHECK, EXPECTED, f"{len(tensors):,} tensors in {files}")


def _against_index(index: Mapping[str, object], names: set[str], tensors: set[str]) -> str | Gap:
    """What the index promises against what is there; a warning where only the index is wrong."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        return Gap(f"{INDEX} does not say which file holds what", "weight_map of names", "none")
    absent = sorted(set(weight_map.values()) - names)
    lost = sorted(set(weight_map) - tensors)
    if lost:
        if absent:
            more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
            found = f"{absent[0]} is missing{more}"
            return Gap(found, f"{len(set(weight_map.values())):,} weight files", found)
        found = f"no {lost[0]}"
        return Gap("a tensor the index promises is missing", f"{len(weight_map):,} tensors", found)
    if absent:
        return f"the index names {len(absent):,} absent files, but every tensor is there"
    return ""


def _by_name(names: Mapping[str, object]) -> Gap | None:
    """Shards that number themselves must be all there, index or not."""
    for name in names:
        match = _SHARD.fullmatch(name)
        if match is None:
            continue
        count = int(match["count"])
        for number in range(1, min(count, 10_000) + 1):
            sibling = f"{match['stem']}-{number:05d}-of-{count:05d}.safetensors"
            if sibling not in names:
                return Gap(f"{sibling} is missing", f"{count:,} weight files", f"no {sibling}")
    return None


def _layers(subject: Subject, tensors: set[str]) -> Gap | None:
    config = subject.config
    text = config.get("text_config")
    count = config.get("num_hidden_layers")
    if count is None and isinstance(text, Mapping):
        count = text.get("num_hidden_layers")
    numbers = {int(match[1]) for name in tensors if (match := _LAYER.search(name))}
    pruned = config.get("model_type") == "nemotron-nas"  # whose layers may hold nothing at all
    if not isinstance(count, int) or not numbers or pruned:
        return None
    missing = next((number for number in range(count) if number not in numbers), None)
    if missing is None:
        return None
    return Gap(
        f"the weights of layer {missing} are missing", f"{count:,} layers", f"{len(numbers):,}"
    )


# -- tokenizer ------------------------------------------------------------------------------------


def _tokenizer(subject: Subject) -> Iterator[Gap]:
    if isinstance(error := subject.json(TOKENIZER_CONFIG), HeaderError):
        yield gap_of(TOKENIZER_CONFIG, error)
    content = subject.json(TOKENIZER)
    if isinstance(content, HeaderError):
        yield gap_of(TOKENIZER, content)
    elif isinstance(content, dict):
        if not isinstance(content.get("model"), dict):
            yield Gap("tokenizer.json holds no tokenizer", "model as an object", "none")
        if not isinstance(content.get("added_tokens"), list):
            yield Gap("tokenizer.json is not whole", "added_tokens as a list", "none")
    else:
        names = subject.names()
        plain = any(name in names for name in _OTHER_TOKENIZERS)
        pairs = "vocab.json" in names and "merges.txt" in names
        if not (plain or pairs or any(name.endswith(".tiktoken") for name in names)):
            yield Gap("it has no tokenizer", f"{TOKENIZER} or tokenizer.model", "none")
