"""The cheap identity of a model's content, and the stamp that notices a file was touched.

A fingerprint reads every header, every small file and up to 256 blocks of the weights. It can miss
a repair of a few bytes between those blocks; the stamp (inode, size, time) catches that.
"""

import json
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import names_in
from engine.catalog.gguf import parse_gguf
from engine.catalog.header import HeaderError
from engine.catalog.listing import split_parts
from engine.catalog.regular import RegularFile, open_regular, read_json
from engine.catalog.simulated import SCRIPT_CAP, SCRIPT_NAME
from engine.catalog.starter import CONVERSION, ROOT_KIND, starter_file
from engine.types import Backend

BLOCKS = 256
BLOCK = 4096
"""How many blocks of the weights are sampled, over all files together, and their size in bytes."""
CONTENT_CAP = 64 * 1024 * 1024
"""Of a config, tokenizer or template as much is read; its size counts in any case."""
HEADER_CAP = 128 * 1024 * 1024
TOTAL_CAP = 512 * 1024 * 1024
"""Headers, and small files, of one model are read up to this many bytes together."""
BROKEN_HEAD = 1024 * 1024
"""Bytes read in place of a header that cannot be understood."""

_CONTENT = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".py")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".gguf")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def _new() -> blake2b:
    return blake2b(digest_size=16)


def _field(digest: _Hash, *values: object) -> None:
    """Add values so that no two different lists look alike."""
    for value in values:
        data = value if isinstance(value, bytes) else os.fsencode(str(value))
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)


def model_files(entry: CatalogEntry) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files that make a model: those read whole, and those with weights."""
    if entry.backend is Backend.GGUF:
        return (), split_parts(entry.path)
    if entry.backend is Backend.SIMULATED:
        return (entry.path / SCRIPT_NAME,), ()
    names = names_in(entry.path)
    content = tuple(entry.path / name for name in names if name.endswith(_CONTENT))
    weights = tuple(entry.path / name for name in names if name.endswith(_WEIGHTS))
    return content, weights


def _header_bytes(file: RegularFile) -> int:
    """How many bytes before the weights; a fixed number where the header makes no sense."""
    if file.path.name.endswith(".safetensors"):
        length = 8 + int.from_bytes(file.read_at(0, 8), "little")
        return length if length <= min(file.size, HEADER_CAP) else BROKEN_HEAD
    try:
        return parse_gguf(file).data_offset
    except HeaderError:
        return BROKEN_HEAD


def _add_head(digest: _Hash, file: RegularFile, length: int) -> int:
    """Add the first ``length`` bytes; tells how many there were."""
    position = 0
    while position < length and (part := file.read_at(position, min(1 << 20, length - position))):
        digest.update(part)
        position += len(part)
    return position


def _add_content(digest: _Hash, paths: Iterable[Path]) -> None:
    room = TOTAL_CAP
    for path in paths:
        _field(digest, path.name)
        try:
            with open_regular(path) as file:
                _field(digest, file.size)
                room -= _add_head(digest, file, min(file.size, CONTENT_CAP, room))
        except HeaderError as error:
            _field(digest, error.kind, error.found)


def _add_weights(digest: _Hash, paths: Iterable[Path]) -> None:
    sizes: list[tuple[Path, int]] = []
    room = TOTAL_CAP
    for path in paths:
        _field(digest, path.name)
        try:
            with open_regular(path) as file:
                _field(digest, file.size)
                length = _header_bytes(file) if room else 0
                room -= _add_head(digest, file, min(length, file.size, room))
                sizes.append((path, file.size))
        except HeaderError as error:
            _field(digest, error.kind, error.found)
    _add_blocks(digest, sizes)


def _add_blocks(digest: _Hash, sizes: list[tuple[Path, int]]) -> None:
    """Sample blocks at even distances in every file, its first and last included."""
    sizes = [(path, size) for path, size in sizes if size > 0]
    total = sum(size for _, size in sizes)
    least = min(2, BLOCKS // max(len(sizes), 1))
    for path, size in sizes:
        blocks = least + (BLOCKS - least * len(sizes)) * size // total
        last = max(size - BLOCK, 0)
        places = {last * number // max(blocks - 1, 1) for number in range(blocks)} | {last}
        try:
            with open_regular(path) as file:
                for place in sorted(places)[-blocks:] if blocks else ():
                    _field(digest, file.read_at(place, BLOCK))
        except HeaderError as error:
            _field(digest, error.kind, error.found)


def _simulated(folder: Path) -> str:
    """Everything in the script but ``backend_version``, so that changing it plays an upgrade."""
    digest = _new()
    try:
        script = read_json(folder / SCRIPT_NAME, SCRIPT_CAP)
    except HeaderError:
        _add_content(digest, (folder / SCRIPT_NAME,))
        return digest.hexdigest()
    script.pop("backend_version", None)
    # Lone surrogates, which JSON may spell, must not end in an encoding error.
    _field(digest, json.dumps(script, sort_keys=True, ensure_ascii=True))
    return digest.hexdigest()


def _plain(content: Iterable[Path], weights: Iterable[Path]) -> str:
    digest = _new()
    _add_content(digest, content)
    _add_weights(digest, weights)
    return digest.hexdigest()


def _starter_source(entry: CatalogEntry) -> Path | None:
    """What the MLX starter is, or was, built from; None for any other model."""
    if entry.backend is Backend.MLX and entry.root_kind == ROOT_KIND:
        return entry.build_from or starter_file()
    return None


def fingerprint(entry: CatalogEntry) -> str:
    """What this model's content is known by: 32 hex digits.

    The MLX starter is known by what it is built from and by the conversion's version, before and
    after the build alike: its verdicts survive the build and a rebuild, and end with another
    source or another conversion. Where the source is gone, by its own files as any other.

    Never raises: of what cannot be read the kind of trouble is part of the identity.
    """
    if entry.backend is Backend.SIMULATED:
        return _simulated(entry.path)
    source = _starter_source(entry)
    if source is not None:
        digest = _new()
        _field(digest, "starter", CONVERSION, _plain((), (source,)))
        return digest.hexdigest()
    return _plain(*model_files(entry))


def stamp(entry: CatalogEntry) -> str:
    """A digest of name, inode, size and modification time of every file of a model: 32 hex digits.

    Equal stamps mean that nothing touched the files; a different one reopens a closed case. The
    MLX starter is stamped by its source, as it is fingerprinted: a build is no change of the model.
    Reads no content and never raises.
    """
    source = _starter_source(entry)
    content, weights = model_files(entry) if source is None else ((), (source,))
    digest = _new()
    for path in (*content, *weights):
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            _field(digest, path.name, type(error).__name__)
        else:
            _field(digest, path.name, status.st_ino, status.st_size, status.st_mtime_ns)
    return digest.hexdigest()
