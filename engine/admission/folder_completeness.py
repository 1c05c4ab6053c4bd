"""Completeness of a model folder: config, weights against the index, tokenizer."""

import re
from collections.abc import Iterable, Mapping

from engine.admission import answer, folder_config, folder_shapes, folder_tokenizer
from engine.admission.gap import CHECK, EXPECTED, Gap, gap_of
from engine.admission.kind import foreign_kind
from engine.admission.subject import GENERATION, NAMES_FOREIGN, Subject
from engine.catalog.folder import CONFIG, INDEX, SHARD_PATTERN
from engine.catalog.header import HeaderError
from engine.types import Check

_SHARD = re.compile(r"(?P<stem>model.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.safetensors")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,6})\.")


def judge(subject: Subject) -> Check | Gap:
    """The check's answer, or the first gap found."""
    if foreign_kind(subject) and subject.json(CONFIG) is None:
        return answer.passed(CHECK, EXPECTED, "an adapter: see the architecture check")
    if gap := next(folder_config.gaps(subject), None):
        return gap
    if isinstance(found := _weights(subject), Gap):
        return found
    if gap := next(folder_tokenizer.gaps(subject), None):
        return gap
    return found


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
        kind = config.get("model_type")
        plain = isinstance(kind, str) and kind in folder_shapes.PLAIN  # others leave some unread
        if not plain or max(numbers) < count:
            return None
        words = "it has weights of more layers than config.json says"
        return Gap(words, f"{count:,} layers", f"a layer {max(numbers):,}")
    return Gap(
        f"the weights of layer {missing} are missing", f"{count:,} layers", f"{len(numbers):,}"
    )
