"""From a path to a catalog entry: what one bounded look at a model tells.

Looks are remembered by inode, size and time, so that a rescan of a thousand models costs a
thousand ``stat`` calls and no reading.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import CONFIG, INDEX, TOKENIZER_CONFIG, plain_name, read_folder, size_of
from engine.catalog.ggml import file_type_name, quantisation_in
from engine.catalog.gguf import Value, peek_gguf, read_gguf, split_of
from engine.catalog.header import HeaderError
from engine.catalog.simulated import SCRIPT_NAME, ScriptError, SimulatedScript, read_script
from engine.text import clean_line
from engine.types import Backend

Stamp = tuple[int, int, int, int]


class Look(NamedTuple):
    """What a listing wants to know of a model's content."""

    architecture: str = ""
    quantisation: str = ""
    context: int | None = None


def display_id(name: str) -> str:
    """A name as an id: one line, nothing a terminal would obey, never empty."""
    return clean_line(name).strip() or "unnamed"


def gguf_stem(name: str) -> str:
    """A GGUF file's name without its suffix and its place among splits."""
    split = split_of(name)
    return split[0] if split else name[: -len(".gguf")] if is_gguf(name) else name


def is_gguf(name: str) -> bool:
    """Whether a name claims to be a GGUF file."""
    return name.lower().endswith(".gguf")


def split_parts(path: Path, siblings: tuple[str, ...] | None = None) -> tuple[Path, ...]:
    """Every part of a split model that is there, in order; a whole file is its own only part.

    Args:
        siblings: The names in its folder, where they are known already.
    """
    split = split_of(path.name)
    if split is None:
        return (path,)
    stem, _, count = split
    if siblings is not None:
        parts = (s for s in ((name, split_of(name)) for name in siblings) if s[1])
        found = [path.parent / name for name, s in parts if s and s[0] == stem and s[2] == count]
        return tuple(sorted(found)) or (path,)
    suffix = path.name[-len(".gguf") :]
    names = (f"{stem}-{number:05d}-of-{count:05d}{suffix}" for number in range(1, count + 1))
    return tuple(part for part in map(path.with_name, names) if _there(part)) or (path,)


def _there(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _gguf_context(metadata: Mapping[str, Value], architecture: str) -> int | None:
    value = metadata.get(f"{architecture}.context_length")
    return value if type(value) is int and 0 < value < 2**31 else None


@lru_cache(maxsize=20_000)
def _look_at_gguf(path: Path, stamp: Stamp) -> Look:  # noqa: ARG001 - the stamp is the cache's key
    metadata = peek_gguf(path)
    value = metadata.get("general.architecture")
    raw = value if isinstance(value, str) else ""
    quantisation = file_type_name(metadata.get("general.file_type")) or quantisation_in(path.name)
    if raw and not quantisation:
        # A quantiser may write the file type behind the vocabulary; only then read that far.
        with suppress(HeaderError):
            quantisation = file_type_name(read_gguf(path).metadata.get("general.file_type"))
    return Look(clean_line(raw, limit=64), quantisation, _gguf_context(metadata, raw))


@lru_cache(maxsize=20_000)
def _look_at_folder(path: Path, stamps: tuple[Stamp | None, ...]) -> tuple[Look, tuple[str, ...]]:  # noqa: ARG001
    folder = read_folder(path)
    return Look(folder.model_type, folder.quantisation, folder.context), folder.shards


@lru_cache(maxsize=256)
def _look_at_script(path: Path, stamp: Stamp) -> SimulatedScript | None:  # noqa: ARG001
    try:
        return read_script(path)
    except ScriptError:
        return None


def gguf_entry(
    path: Path, root: Path, root_kind: str, siblings: tuple[str, ...] | None = None
) -> CatalogEntry:
    """The entry of a GGUF file; ``weight_bytes`` counts every part of a split."""
    stamp = _stamp(path)
    look = _look_at_gguf(path, stamp) if stamp else Look()
    return CatalogEntry(
        id=display_id(gguf_stem(path.name)),
        path=path,
        backend=Backend.GGUF,
        root=root,
        root_kind=root_kind,
        weight_bytes=sum(map(size_of, split_parts(path, siblings))),
        architecture=look.architecture,
        quantisation=look.quantisation,
        context_trained=look.context,
    )


def mlx_entry(path: Path, root: Path, root_kind: str) -> CatalogEntry:
    """The entry of a folder with a model in safetensors."""
    watched = ("", CONFIG, INDEX, TOKENIZER_CONFIG)
    look, shards = _look_at_folder(path, tuple(_stamp(path / name) for name in watched))
    return CatalogEntry(
        id=display_id(path.name),
        path=path,
        backend=Backend.MLX,
        root=root,
        root_kind=root_kind,
        weight_bytes=sum(size_of(path / name) for name in shards if plain_name(name)),
        architecture=look.architecture,
        quantisation=look.quantisation,
        context_trained=look.context,
    )


def simulated_entry(path: Path, root: Path, root_kind: str) -> CatalogEntry:
    """The entry of a folder with a ``simulated.json``."""
    stamp = _stamp(path / SCRIPT_NAME)
    script = _look_at_script(path, stamp) if stamp else None
    return CatalogEntry(
        id=display_id(path.name),
        path=path,
        backend=Backend.SIMULATED,
        root=root,
        root_kind=root_kind,
        weight_bytes=script.weight_bytes if script else 0,
        architecture=clean_line(script.architecture) if script else "simulated",
        context_trained=script.context if script else None,
        simulated_version=clean_line(script.backend_version) if script else "",
    )
