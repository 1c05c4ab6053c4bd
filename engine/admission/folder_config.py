"""Completeness of a folder's config: what mlx-lm cannot build without, and what hangs it."""

import math
from collections.abc import Iterator, Mapping

from engine.admission import folder_shapes
from engine.admission.gap import Gap, gap_of
from engine.admission.question import architecture_question
from engine.admission.subject import GENERATION, Subject
from engine.catalog.folder import CONFIG
from engine.catalog.header import HeaderError
from engine.types import Backend

MODELOPT = "hf_quant_config.json"
_MEND = "mend config.json, or download the model again"
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
_KINDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("text_config", (dict,), "an object"),
    ("rope_scaling", (dict, type(None)), "an object"),
    ("architectures", (list, str, type(None)), "a list of names"),
    ("tie_word_embeddings", (bool, type(None)), "true or false"),
    ("eos_token_id", (int, list, type(None)), "a number, or several"),
    ("bos_token_id", (int, list, type(None)), "a number, or several"),
)
"""What mlx-lm and transformers take apart without looking first."""


def gaps(subject: Subject) -> Iterator[Gap]:
    """The gaps in config.json, generation_config.json and hf_quant_config.json."""
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
    modelopt = subject.json(MODELOPT)
    if isinstance(modelopt, HeaderError):
        yield gap_of(MODELOPT, modelopt)
    yield from _kinds(config)
    yield from _required(subject, config)
    text = config.get("text_config")
    for part in (config, text) if isinstance(text, Mapping) else (config,):
        yield from _ranges(part)
    yield from _heads(config)
    yield from _numbers(config)


def _kinds(config: Mapping[str, object]) -> Iterator[Gap]:
    for name, kinds, words in _KINDS:
        value = config.get(name)
        if name in config and not isinstance(value, kinds):
            expected, found = f"{name} as {words}", type(value).__name__
            yield Gap(f"{name} in config.json is damaged", expected, found, _MEND)


def _required(subject: Subject, config: Mapping[str, object]) -> Iterator[Gap]:
    """What mlx-lm says this architecture cannot be built without."""
    name = config.get("model_type")
    if not isinstance(name, str):
        return
    question = architecture_question(Backend.MLX, name, config.get("architectures"))
    counted = {name for name, least, _ in _RANGES if least}
    for needed in subject.facts.requires(question):
        # Others may be null: a class has its own idea of what that means.
        if needed not in config or (needed in counted and config[needed] is None):
            found = "null" if needed in config else "none"
            yield Gap(f"{needed} is missing in config.json", needed, found, _MEND)


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
