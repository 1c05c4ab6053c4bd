"""What an MLX model folder says of itself, for a listing and as the start of an admission.

Nothing here fails on damage: what cannot be read stays empty, and ``problems`` says what it was.
Admission reads the same files again and decides.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from engine.catalog.header import HeaderError
from engine.catalog.regular import CONFIG_CAP, INDEX_CAP, read_json
from engine.text import clean_line

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_CONFIG_CAP = 32 * 1024 * 1024
"""Its list of added tokens can be long; the largest in use are a few MiB."""
FILE_LIMIT = 20_000
"""Names looked at in one folder; no model has a tenth of it."""
SHARD_PATTERN = "model*.safetensors"
"""What mlx-lm itself globs for; it never reads the index."""

_CONTEXT_KEYS = (
    "max_position_embeddings",
    "max_sequence_length",
    "max_seq_len",
    "n_positions",
    "n_ctx",
    "seq_length",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tiktoken.model", "vocab.json", "spiece.model")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with a model in safetensors. Names are raw and must be sanitised before showing."""

    path: Path
    config: Mapping[str, object] = field(default_factory=dict)
    model_type: str = ""
    files: tuple[str, ...] = ()
    """Every name directly in the folder, sorted."""
    shards: tuple[str, ...] = ()
    """The weight files: those the index names, else what mlx-lm would find."""
    indexed: bool = False
    """Whether ``shards`` comes from the index; such names may be hostile."""
    weight_bytes: int = 0
    """Bytes on disk of every shard that is there under a plain name."""
    quantisation: str = ""
    context: int | None = None
    template: bool = False
    tokenizer: bool = False
    problems: tuple[str, ...] = ()


def plain_name(name: str) -> bool:
    """Whether a name from an index stays in its folder: no separator, no dots alone, no control
    character."""
    return (
        0 < len(name) <= 255
        and name not in (".", "..")
        and PurePosixPath(name).name == name
        and "\\" not in name
        and name.isprintable()
    )


def names_in(folder: Path) -> tuple[str, ...]:
    """The names directly in a folder, sorted, at most ``FILE_LIMIT``; empty if unreadable."""
    try:
        with os.scandir(folder) as listing:
            return tuple(sorted(entry.name for entry in islice(listing, FILE_LIMIT)))
    except (OSError, ValueError):
        return ()


def size_of(path: Path) -> int:
    """Bytes of a regular file, links followed; 0 for anything else."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def read_config(folder: Path) -> dict[str, object]:
    """``config.json`` of a folder.

    Raises:
        HeaderError: it is missing, damaged or no regular file.
    """
    return read_json(folder / CONFIG, CONFIG_CAP)


def read_index(folder: Path) -> tuple[str, ...]:
    """The shard names an index speaks of, each once, in the index's order; not yet judged.

    Raises:
        HeaderError: the index is missing, damaged or holds something else.
    """
    weight_map = read_json(folder / INDEX, INDEX_CAP).get("weight_map")
    if not isinstance(weight_map, dict):
        raise HeaderError("weight_map as an object in the index", type(weight_map).__name__)
    odd = [value for value in weight_map.values() if not isinstance(value, str)]
    if odd:
        raise HeaderError("file names in the index's weight_map", repr(odd[0])[:100])
    return tuple(dict.fromkeys(weight_map.values()))[:FILE_LIMIT]


def _part(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def quantisation_of(config: Mapping[str, object]) -> str:
    """How the weights are stored, in a word or two, such as ``4-bit`` or ``bfloat16``."""
    text = _part(config, "text_config")
    for place in (config, text):
        for key in ("quantization", "quantization_config"):
            block = _part(place, key)
            bits, mode = block.get("bits"), block.get("mode", block.get("quant_method"))
            if type(bits) is int and 0 < bits <= 64:
                return f"{bits}-bit" if mode in (None, "affine") else f"{bits}-bit {mode}"[:40]
            if isinstance(mode, str) and mode:
                return mode[:40]
    for place in (config, text):
        dtype = place.get("dtype", place.get("torch_dtype"))
        if isinstance(dtype, str):
            return dtype[:40]
    return ""


def context_of(config: Mapping[str, object]) -> int | None:
    """The context length a model was trained for, in tokens, where its config names one."""
    for place in (config, _part(config, "text_config")):
        for key in _CONTEXT_KEYS:
            value = place.get(key)
            if type(value) is int and 0 < value < 2**31:
                return value
    return None


def _has_template(folder: Path, names: frozenset[str]) -> bool:
    if not names.isdisjoint(_TEMPLATES):
        return True
    if TOKENIZER_CONFIG not in names:
        return False
    try:
        return bool(read_json(folder / TOKENIZER_CONFIG, TOKENIZER_CONFIG_CAP).get("chat_template"))
    except HeaderError:
        return False


def shards_in(names: tuple[str, ...]) -> tuple[str, ...]:
    """The weight files among these names: mlx-lm's pattern, else any safetensors file."""
    named = tuple(name for name in names if fnmatchcase(name, SHARD_PATTERN))
    return named or tuple(name for name in names if name.endswith(".safetensors"))


def read_folder(path: Path) -> ModelFolder:
    """Read what a model folder says of itself. Bounded, and never raises for what is in it."""
    names = names_in(path)
    known = frozenset(names)
    problems: list[str] = []
    config: dict[str, object] = {}
    try:
        config = read_config(path)
    except HeaderError as error:
        problems.append(f"{CONFIG}: {error}")
    shards, indexed = shards_in(names), False
    if INDEX in known:
        try:
            shards, indexed = read_index(path), True
        except HeaderError as error:
            problems.append(f"{INDEX}: {error}")
    model_type = config.get("model_type")
    return ModelFolder(
        path=path,
        config=config,
        model_type=clean_line(model_type, limit=64) if isinstance(model_type, str) else "",
        files=names,
        shards=shards,
        indexed=indexed,
        weight_bytes=sum(size_of(path / name) for name in shards if plain_name(name)),
        quantisation=clean_line(quantisation_of(config)),
        context=context_of(config),
        template=_has_template(path, known),
        tokenizer=not known.isdisjoint(_TOKENIZERS)
        or any(name.endswith(".tiktoken") for name in names),
        problems=tuple(problems),
    )
