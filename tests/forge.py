"""Makes small model files for tests: valid by default, and broken in any way a test asks for."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCALARS = {
    "u8": (0, "<B"),
    "i8": (1, "<b"),
    "u16": (2, "<H"),
    "i16": (3, "<h"),
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "bool": (7, "<B"),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}
_F32, _STRING, _ARRAY = 0, 8, 9
_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34), 24: (1, 1), 27: (1, 8)}


@dataclass(frozen=True)
class Typed:
    """A metadata value of a named type: ``u8`` … ``f64``, ``bool``, ``string`` or an array."""

    type: str
    value: object


@dataclass(frozen=True)
class Raw:
    """A metadata value as bytes, its type number included."""

    data: bytes


@dataclass(frozen=True)
class Tensor:
    """One tensor for :func:`gguf_bytes`. What is None is worked out as a correct file has it."""

    name: str | bytes
    shape: tuple[int, ...] = (4,)
    type: int = _F32
    offset: int | None = None
    dimensions: int | None = None
    size: int | None = None


def _string(text: str | bytes, length: int | None = None) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", (len(data) if length is None else length) % 2**64) + data


def array(element: str, values: Sequence[object], length: int | None = None) -> Raw:
    """An array value. ``length`` lies about how many there are."""
    count = len(values) if length is None else length
    if element == "string":
        head, body = _STRING, b"".join(_string(str(value)) for value in values)
    else:
        head, layout = _SCALARS[element]
        body = b"".join(struct.pack(layout, value) for value in values)
    return Raw(struct.pack("<IIQ", _ARRAY, head, count % 2**64) + body)


def _value(value: object) -> bytes:
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, list):
        kind = "string" if value and isinstance(value[0], str) else "i32"
        return array(kind, value).data
    if not isinstance(value, Typed):
        kinds = {bool: "bool", int: "u32", float: "f32", str: "string"}
        value = Typed(kinds[type(value)], value)
    if value.type == "string":
        return struct.pack("<I", _STRING) + _string(str(value.value))
    number, layout = _SCALARS[value.type]
    return struct.pack("<I", number) + struct.pack(layout, value.value)


def _bytes_of(tensor: Tensor) -> int:
    if tensor.size is not None:
        return tensor.size
    elements = 1
    for dimension in tensor.shape:
        elements *= dimension
    block, size = _BLOCKS.get(tensor.type, (1, 4))
    return max(elements, 0) // block * size


def gguf_bytes(
    metadata: Mapping[str, object] | Sequence[tuple[str | bytes, object]] | None = None,
    tensors: Sequence[Tensor] = (Tensor("a"),),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    pair_count: int | None = None,
    alignment: int = 32,
    cut: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A whole GGUF file.

    Args:
        metadata: Pairs; ints become u32, floats f32, lists arrays. ``Typed`` and ``Raw`` say more.
        tensor_count: What the header claims; also ``pair_count``. Negative wraps to 64 bits.
        alignment: What the file is packed by; ``general.alignment`` is the caller's to write.
        cut: So many bytes are missing at the end.
    """
    if metadata is None:
        metadata = {"general.architecture": "llama", "llama.context_length": 2048}
    pairs = list(metadata.items()) if isinstance(metadata, Mapping) else list(metadata)
    infos, data, offset = [], bytearray(), 0
    for tensor in tensors:
        count = len(tensor.shape) if tensor.dimensions is None else tensor.dimensions
        place = offset if tensor.offset is None else tensor.offset
        infos.append(
            _string(tensor.name)
            + struct.pack("<I", count)
            + b"".join(struct.pack("<q", dimension) for dimension in tensor.shape)
            + struct.pack("<IQ", tensor.type % 2**32, place % 2**64)
        )
        size = min(_bytes_of(tensor), 1 << 20)
        data += bytes(range(256)) * (size // 256) + bytes(range(size % 256))
        data += b"\0" * (-size % alignment)
        offset += -(-_bytes_of(tensor) // alignment) * alignment
    header = (
        magic
        + struct.pack("<I", version)
        + struct.pack("<Q", (len(tensors) if tensor_count is None else tensor_count) % 2**64)
        + struct.pack("<Q", (len(pairs) if pair_count is None else pair_count) % 2**64)
        + b"".join(_string(key) + _value(value) for key, value in pairs)
        + b"".join(infos)
    )
    header += b"\0" * (-len(header) % alignment) if tensors else b""
    whole = header + bytes(data) + extra
    return whole[: len(whole) - cut]


def safetensors_bytes(
    tensors: Mapping[str, tuple[str, Sequence[int], int]] | None = None,
    *,
    header: object = None,
    length: int | None = None,
    data: bytes | None = None,
    metadata: object = None,
    cut: int = 0,
) -> bytes:
    """A whole safetensors file.

    Args:
        tensors: By name: dtype, shape and size in bytes, laid out one after the other.
        header: Instead of ``tensors``: the header's bytes, or an object for JSON.
        length: What the file claims as the header's length.
    """
    if header is None:
        begin, described = 0, {}
        if metadata is not None:
            described["__metadata__"] = metadata
        for name, (dtype, shape, size) in (tensors or {"a": ("F32", (2,), 8)}).items():
            described[name] = {
                "dtype": dtype,
                "shape": list(shape),
                "data_offsets": [begin, begin + size],
            }
            begin += size
        header = described
        data = bytes(begin) if data is None else data
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if not isinstance(header, bytes):
        text += b" " * (-len(text) % 8)
    claimed = len(text) if length is None else length
    whole = struct.pack("<Q", claimed % 2**64) + text + (data or b"")
    return whole[: len(whole) - cut]


def write_gguf(path: Path, *args: object, **options: object) -> Path:
    """Write :func:`gguf_bytes` and return the path, folders made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(*args, **options))  # type: ignore[arg-type]
    return path


def write_mlx(
    folder: Path, config: Mapping[str, object] | None = None, *, shards: int = 1, **extra: bytes
) -> Path:
    """Write a small model folder: config, tokenizer, shards and their index.

    Args:
        extra: More files by name, ``__`` standing for a dot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = config or {"model_type": "llama", "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text("{}")
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        name = "model.safetensors" if shards == 1 else name
        (folder / name).write_bytes(safetensors_bytes({f"t{number}": ("F32", (2,), 8)}))
        weight_map[f"t{number}"] = name
    if shards > 1:
        index = {"metadata": {"total_size": 8 * shards}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name, content in extra.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def write_simulated(folder: Path, **script: object) -> Path:
    """Write a simulated model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "simulated.json").write_text(json.dumps({"kind": "simulated", **script}))
    return folder
