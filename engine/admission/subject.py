"""The model under judgement: its files, each read at most once and only when a check asks.

Reading is bounded and cannot run anything (:mod:`engine.catalog`); a file that cannot be read is
kept as the error that says so, for the check that is about it.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from engine.admission.estimate import CacheShape, config_shape, gguf_shape
from engine.admission.facts import Facts
from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import (
    CONFIG,
    INDEX,
    SHARD_PATTERN,
    TOKENIZER_CONFIG,
    TOKENIZER_CONFIG_CAP,
)
from engine.catalog.gguf import GgufArray, GgufHeader, read_gguf, split_of
from engine.catalog.header import HeaderError, Kind
from engine.catalog.regular import CONFIG_CAP, INDEX_CAP, read_json
from engine.catalog.safetensors import SafetensorsHeader, read_safetensors
from engine.face import LoadOptions
from engine.text import clean_line
from engine.types import Backend, Key, RegistryRow

TOKENIZER = "tokenizer.json"
GENERATION = "generation_config.json"
ADAPTER = "adapter_config.json"
TOKENIZER_CAP = 64 * 1024 * 1024
"""Twice the largest tokenizer in use; parsed, JSON takes up to twenty times its size in memory."""
MOST_FILES = 10_000
"""Names looked at in one folder; the largest sharded models have a few hundred."""
MOST_SPLITS = 1_000
MOST_HEADERS = 512 * 1024 * 1024
"""Bytes of header read of one model, over all its files: links to one huge header cost nothing on
the disk. The largest models take 30 MiB."""
MOST_TENSORS = 1_000_000
"""Tensors of one model in all its shards together; the largest in use have a quarter of it."""
_CAPS = {
    TOKENIZER: TOKENIZER_CAP,
    INDEX: INDEX_CAP,
    TOKENIZER_CONFIG: TOKENIZER_CONFIG_CAP,
}
NAMES_FOREIGN = frozenset({Kind.FOREIGN, Kind.UNSUPPORTED})
"""Whole files that are simply not for this runtime: the backend check's business, not damage."""


@dataclass(frozen=True, slots=True)
class Name:
    """One name in a model's folder."""

    name: str
    link: bool
    mode: int | None
    """The mode of what it leads to; None where it leads nowhere."""

    @property
    def is_file(self) -> bool:
        """Whether a regular file is there."""
        return self.mode is not None and stat.S_ISREG(self.mode)


class Subject:
    """One model with the facts and options it is judged by."""

    def __init__(
        self,
        entry: CatalogEntry,
        facts: Facts,
        options: LoadOptions,
        *,
        release: bool,
        fingerprint: str,
    ) -> None:
        self.entry = entry
        self.facts = facts
        self.options = options
        self.release = release
        self.key = Key(fingerprint, entry.backend, facts.backend_version)
        self._json: dict[str, dict[str, object] | HeaderError | None] = {}

    @property
    def is_simulated(self) -> bool:
        """Whether a script plays the model."""
        return self.entry.backend is Backend.SIMULATED

    @property
    def is_gguf(self) -> bool:
        """Whether the weights are in a GGUF file, be it only to build the model from."""
        return self.entry.backend is Backend.GGUF or self.builds

    @property
    def builds(self) -> bool:
        """Whether the model is built by its first load, which has not been yet."""
        return self.entry.build_from is not None

    @property
    def source(self) -> Path:
        """The file or folder that is there to be read."""
        return self.entry.build_from or self.entry.path

    # -- GGUF -------------------------------------------------------------------------------------

    @cached_property
    def header(self) -> GgufHeader | HeaderError:
        """The header of the (first) GGUF file."""
        return _gguf(self.source)

    @cached_property
    def splits(self) -> tuple[tuple[str, GgufHeader | HeaderError], ...]:
        """Every further split by file name, in order, up to the first that cannot be read."""
        if isinstance(self.header, HeaderError) or self.header.split_count < 2:
            return ()
        named = split_of(self.source.name)
        if named is None or self.header.split_count > MOST_SPLITS:
            return ()
        stem, _, count = named
        ending = self.source.name[-5:]
        found: list[tuple[str, GgufHeader | HeaderError]] = []
        room = MOST_HEADERS - self.header.data_offset
        for number in range(2, count + 1):
            name = f"{stem}-{number:05d}-of-{count:05d}{ending}"
            header = _gguf(self.source.with_name(name))
            if not isinstance(header, HeaderError):
                room -= header.data_offset
                if room < 0:
                    header = HeaderError(f"headers of at most {MOST_HEADERS:,} bytes", "more")
            found.append((name, header))
            if isinstance(header, HeaderError):
                break  # one is enough to refuse the model
        return tuple(found)

    @property
    def metadata(self) -> Mapping[str, object]:
        """The GGUF's metadata; empty where it could not be read or there is none."""
        if not self.is_gguf or isinstance(self.header, HeaderError):
            return {}
        return self.header.metadata

    @property
    def vocabulary(self) -> int:
        """How many tokens the GGUF's vocabulary has; 0 where it has none."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return tokens.length if isinstance(tokens, GgufArray) else 0

    # -- folders ----------------------------------------------------------------------------------

    @cached_property
    def listing(self) -> dict[str, Name] | OSError:
        """What is in the model's folder, by name; the error where it cannot be listed."""
        names: dict[str, Name] = {}
        try:
            with os.scandir(self.entry.path) as entries:
                for found in entries:
                    try:
                        mode: int | None = found.stat().st_mode
                    except OSError:
                        mode = None
                    names[found.name] = Name(found.name, found.is_symlink(), mode)
                    if len(names) >= MOST_FILES:
                        break
        except OSError as error:
            return error
        except ValueError:  # a NUL in the path
            return FileNotFoundError(errno.ENOENT, "a name no file can have")
        return dict(sorted(names.items()))

    def names(self) -> dict[str, Name]:
        """The listing; empty where the folder cannot be listed."""
        return {} if isinstance(self.listing, OSError) else self.listing

    def json(self, name: str) -> dict[str, object] | HeaderError | None:
        """A JSON file of the folder: its content, why it cannot be read, or None: not there."""
        if name not in self._json:
            try:
                path = self.entry.path / name
                self._json[name] = read_json(path, _CAPS.get(name, CONFIG_CAP))
            except HeaderError as error:
                missing = error.kind is Kind.MISSING and name not in self.names()
                self._json[name] = None if missing else error
        return self._json[name]

    def content(self, name: str) -> dict[str, object]:
        """A JSON file of the folder; empty where it cannot be read or is not there."""
        found = self.json(name)
        return found if isinstance(found, dict) else {}

    @property
    def config(self) -> dict[str, object]:
        """The folder's config.json, as far as there is one."""
        return {} if self.is_gguf else self.content(CONFIG)

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """The files mlx-lm would load: ``model*.safetensors``, whatever the index says."""
        return tuple(name for name in self.names() if fnmatchcase(name, SHARD_PATTERN))

    @cached_property
    def shards(self) -> dict[str, SafetensorsHeader | HeaderError]:
        """The header of each weight file, as far as the first that cannot be read, with why."""
        headers: dict[str, SafetensorsHeader | HeaderError] = {}
        room, tensors = MOST_HEADERS, MOST_TENSORS
        for name in self.weight_names:
            header = _safetensors(self.entry.path / name)
            if not isinstance(header, HeaderError):
                room -= header.data_offset
                tensors -= len(header.tensors)
                if room < 0 or tensors < 0:
                    most = f"{MOST_TENSORS:,} tensors and {MOST_HEADERS:,} bytes of headers"
                    header = HeaderError(f"at most {most}", "more, over all its weight files")
            headers[name] = header
            if isinstance(header, HeaderError):
                break  # one is enough to refuse the model
        return headers

    # -- what both have ---------------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """The architecture as the files name it, safe to show; else the catalog's word for it."""
        key = "general.architecture" if self.is_gguf else "model_type"
        value = (self.metadata if self.is_gguf else self.config).get(key)
        if isinstance(value, str):
            return clean_line(value, limit=100)
        return self.entry.architecture

    @cached_property
    def quantisations(self) -> frozenset[str]:
        """Every name the model's quantisation goes by, for signatures."""
        names = {self.entry.quantisation}
        block = self.config.get("quantization_config")
        if isinstance(block, Mapping):
            method, form = block.get("quant_method"), block.get("format")
            if isinstance(method, str):
                names |= {method, f"{method}/{form}" if isinstance(form, str) else method}
        block = self.config.get("quantization")
        if isinstance(block, Mapping):
            names.add(f"{block.get('mode', 'affine')}/{block.get('bits')}")
        return frozenset(name for name in names if name)

    @cached_property
    def verdict(self) -> RegistryRow | None:
        """The newest verdict on this content here, or None: never tried."""
        return self.facts.verdict(self.key)

    @cached_property
    def shape(self) -> CacheShape | None:
        """What the cache costs, or None where the files do not tell."""
        if self.is_simulated:
            return None
        if self.is_gguf:
            return gguf_shape(self.metadata, self.vocabulary)
        return config_shape(self.config)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights: by the headers where they could be read, else by the catalog."""
        if self.is_simulated:
            return self.entry.weight_bytes
        return sum(header.file_size for header in self.headers) or self.entry.weight_bytes

    @property
    def headers(self) -> tuple[GgufHeader | SafetensorsHeader, ...]:
        """The headers of the weight files, as far as they could be read."""
        found: Iterable[GgufHeader | SafetensorsHeader | HeaderError] = self.shards.values()
        if self.is_gguf:
            found = (self.header, *(header for _, header in self.splits))
        return tuple(header for header in found if not isinstance(header, HeaderError))


def _gguf(path: Path) -> GgufHeader | HeaderError:
    return _twice(read_gguf, path)


def _safetensors(path: Path) -> SafetensorsHeader | HeaderError:
    return _twice(read_safetensors, path)


_Header = TypeVar("_Header")


def _twice(read: Callable[[Path], _Header], path: Path) -> _Header | HeaderError:
    """Read a header; once more where the system failed, as a network mount does (row 53)."""
    try:
        return read(path)
    except HeaderError as error:
        if error.kind is not Kind.UNREADABLE:
            return error
    try:
        return read(path)
    except HeaderError as error:
        return error
