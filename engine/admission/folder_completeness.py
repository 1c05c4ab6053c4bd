"""Completeness of a model folder: config, weights against the index, tokenizer."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from engine.admission import answer, folder_shapes
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
# Upper bounds far above any model; a wild value hangs mlx-lm or overflows.
_RANGES = (
    ("num_hidden_layers", 1, 10_000),
    ("n_layer", 1, 10_000),
    ("n_layers", 1, 10_000),
    ("hidden_size", 1, 1_000_000),
    ("n_embd", 1, 1_000_000),
    ("num_attention_heads", 1, 100_000),
    ("n_head", 1, 100_000),
    ("num_key_value_heads", 0, 100_000),
    ("head_dim", 1, 100_000),
    ("intermediate_size", 0, 100_000_000),
    ("vocab_size", 1, 10_000_000),
    ("num_experts", 0, 10_000),
    ("num_local_experts", 0, 10_000),
    ("n_routed_experts", 0, 10_000),
    ("num_experts_per_tok", 0, 10_000),
    ("max_position_embeddings", 1, 2**31 - 1),
)
_EACH_LAYER = frozenset({"num_attention_heads", "num_key_value_heads", "intermediate_size"})
"""What some hybrid models give as a list, one number for each layer."""
_DIVIDES = frozenset({"llama", "mistral", "qwen2", "gemma", "phi3", "granite", "mixtral"})
"""Model types whose head is their width shared out, unless ``head_dim`` says otherwise."""
_TOKENIZER_TYPES = frozenset({"BPE", "WordPiece", "WordLevel", "Unigram"})


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
        yield from _ranges(part)
    yield from _heads(config)
    yield from _numbers(config)


def _ranges(part: Mapping[str, object]) -> Iterator[Gap]:
    for name, least, most in _RANGES:
        value = part.get(name)
        several = isinstance(value, list) and name in _EACH_LAYER
        values = value if isinstance(value, list) and several else [value]
        if value is None or all(type(one) is int and least <= one <= most for one in values):
            continue
        expected = f"{name} from {least:,} to {most:,}"
        yield Gap(f"{name} in config.json is out of bounds", expected, repr(value)[:60], _MEND)


def _heads(config: Mapping[str, object]) -> Iterator[Gap]:
    """Heads that do not divide the width, or each other, end mlx-lm in a reshape."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    name = config.get("model_type")
    if not isinstance(name, str) or name not in _DIVIDES:
        return
    if not isinstance(width, int) or not isinstance(heads, int) or heads < 1:
        return
    if config.get("head_dim") is None and width % heads:
        words = "num_attention_heads does not divide hidden_size"
        yield Gap(words, f"heads that divide {width:,}", f"{heads:,}", _MEND)
    shared = config.get("num_key_value_heads")
    if isinstance(shared, int) and (shared < 1 or heads % shared):
        words = "num_key_value_heads does not divide num_attention_heads"
        yield Gap(words, f"heads that divide {heads:,}", f"{shared:,}", _MEND)


def _numbers(config: Mapping[str, object]) -> Iterator[Gap]:
    """Figures the plain decoders reckon with from the first token on."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in folder_shapes.PLAIN:
        return
    for name in ("rms_norm_eps", "rope_theta"):
        value = config.get(name)
        if isinstance(value, int | float) and value is not True and 0 < value < math.inf:
            continue
        if value is not None:
            words = f"{name} in config.json is no usable number"
            yield Gap(words, f"{name} above 0", repr(value)[:60], _MEND)


def _ends(subject: Subject) -> str:
    """A warning where the two files that say how an answer ends contradict each other (row 41)."""
    both = [
        set(value if isinstance(value, list) else [value])
        for value in (subject.content(name).get("eos_token_id") for name in (CONFIG, GENERATION))
        if type(value) is int or (isinstance(value, list) and all(type(v) is int for v in value))
    ]
    if len(both) < 2 or not both[0] or not both[1] or both[0] & both[1]:
        return ""
    return f"config.json ends at {sorted(both[0])}, generation_config.json at {sorted(both[1])}"


# -- weights --------------------------------------------------------------------------------------


def _weights(subject: Subject) -> Check | Gap:
    shards = subject.shards
    for name, header in shards.items():
        if isinstance(header, HeaderError):
            if header.kind in NAMES_FOREIGN:
                words = f"{name}: {header.found}: see the backend check"
                return answer.unknown(CHECK, EXPECTED, words)
            return gap_of(name, header)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, header in shards.items():
        for tensor in () if isinstance(header, HeaderError) else header.tensors:
            if tensor.name in shapes:
                words = f"{tensor.name} again in {name}"
                return Gap("two weight files hold the same tensor", "every tensor once", words)
            shapes[tensor.name] = tensor.shape
    tensors = set(shapes)
    index = subject.json(INDEX)
    if isinstance(index, HeaderError):
        return gap_of(INDEX, index)
    warning = ""
    if index is not None:
        found = _against_index(index, set(shards), tensors)
        if isinstance(found, Gap):
            return found
        warning = found
    elif gap := _by_name(subject.weight_names):
        return gap
    if not shards:
        others = [name for name in subject.names() if name.endswith(".safetensors")]
        found = ", ".join(others[:3]) or "no weights"
        return Gap("there are no weights", SHARD_PATTERN, found)
    if not tensors:
        return Gap("its weight files are empty", "tensors", "none")
    if gap := _layers(subject, tensors) or folder_shapes.gap(subject.config, shapes):
        return gap
    if warning := warning or _ends(subject):
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


def _by_name(listed: Iterable[str]) -> Gap | None:
    """Shards that number themselves must be all there, index or not."""
    names = frozenset(listed)
    for name in sorted(names):
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
    settings = subject.json(TOKENIZER_CONFIG)
    if isinstance(settings, HeaderError):
        yield gap_of(TOKENIZER_CONFIG, settings)
    elif settings is not None:
        yield from _settings(settings)
    content = subject.json(TOKENIZER)
    if isinstance(content, HeaderError):
        yield gap_of(TOKENIZER, content)
    elif isinstance(content, dict):
        model = content.get("model")
        if not isinstance(model, dict):
            yield Gap("tokenizer.json holds no tokenizer", "model as an object", "none")
        elif str(kind := model.get("type", "BPE")) not in _TOKENIZER_TYPES:
            expected = ", ".join(sorted(_TOKENIZER_TYPES))
            yield Gap("its tokenizer is of no known type", expected, repr(kind)[:60])
        elif not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
            yield Gap("tokenizer.json holds no vocabulary", "vocab in its model", "none")
        if not isinstance(content.get("added_tokens"), list):
            yield Gap("tokenizer.json is not whole", "added_tokens as a list", "none")
    else:
        names = subject.names()
        plain = any(name in names for name in _OTHER_TOKENIZERS)
        pairs = "vocab.json" in names and "merges.txt" in names
        if not (plain or pairs or any(name.endswith(".tiktoken") for name in names)):
            yield Gap("it has no tokenizer", f"{TOKENIZER} or tokenizer.model", "none")


def _settings(settings: Mapping[str, object]) -> Iterator[Gap]:
    """What transformers takes apart in tokenizer_config.json without looking first."""
    for key, kinds, words in (
        ("added_tokens_decoder", (dict,), "an object"),
        ("chat_template", (str, list, dict), "a text, or several by name"),
        ("tokenizer_class", (str,), "a text"),
    ):
        value = settings.get(key)
        if value is not None and not isinstance(value, kinds):
            found = type(value).__name__
            yield Gap(f"{key} in {TOKENIZER_CONFIG} is damaged", f"{key} as {words}", found)
