"""A bounded reader of GGUF headers that trusts no length and makes no object of a vocabulary.

It refuses what llama.cpp's own reader refuses (its handcrafted test variants are our test cases),
before any native parser meets the file: some of those files end llama.cpp with an abort.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.catalog.cursor import Cursor
from engine.catalog.ggml import REMOVED, TYPES
from engine.catalog.header import SNIFF_BYTES, HeaderError, Kind, sniff
from engine.catalog.pairs import (
    VOCABULARY,
    GgufArray,
    Scalar,
    Value,
    alignment_of,
    read_key,
    read_value,
    text_of,
)
from engine.catalog.regular import RegularFile, open_regular
from engine.catalog.remembered import Remembered
from engine.text import clean_bytes

__all__ = [
    "GgufArray",
    "GgufHeader",
    "GgufTensor",
    "Scalar",
    "Value",
    "parse_gguf",
    "peek_gguf",
    "read_gguf",
    "split_of",
]

MAX_PAIRS = 65_536
MAX_TENSORS = 262_144
"""Far above any real model (a trillion parameters with unfused experts: 70 thousand tensors)."""
MAX_NAME = 64
"""ggml's GGML_MAX_NAME; a name must be shorter."""
MAX_DIMENSIONS = 4
REMEMBERED_FROM = 256 * 1024
"""Headers of so many bytes hold a vocabulary and take 20 ms and more to go through; the gate wants
one twice, for the fingerprint and for its checks. Shorter ones are sooner read than remembered."""
_SMALLEST_PAIR = 8 + 1 + 4 + 1
_SMALLEST_TENSOR = 8 + 4 + 4 + 8
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor's place. ``offset`` counts from the header's ``data_offset``."""

    name: str
    dimensions: tuple[int, ...]
    type_id: int
    offset: int
    bytes: int

    @property
    def elements(self) -> int:
        product = 1
        for dimension in self.dimensions:
            product *= dimension
        return product


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the weights."""

    version: int
    alignment: int
    metadata: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]
    file_size: int
    data_offset: int
    split_no: int = 0
    split_count: int = 0
    """0 where the file says nothing of splits."""
    split_tensors_count: int = 0
    types: Mapping[str, str] = field(default_factory=dict)
    """The type of every metadata value, as the file spells it; ``array`` for any array."""


def split_of(name: str) -> tuple[str, int, int] | None:
    """The stem, number (from 1) and count of a split's file name, or None for a whole file."""
    match = _SPLIT.fullmatch(name)
    return (match["stem"], int(match["no"]), int(match["count"])) if match else None


def _begin(cursor: Cursor, file: RegularFile) -> int:
    head = file.read_at(0, SNIFF_BYTES)
    if head[:4] != b"GGUF":
        raise HeaderError("the magic 'GGUF'", *sniff(head, file.size))
    cursor.take(4, "the magic")
    version = cursor.u32("the version")
    if version and version & 0xFFFF == 0:
        found = "a file in big-endian byte order"
        raise HeaderError("a little-endian GGUF file", found, Kind.UNSUPPORTED)
    if version not in (2, 3):
        kind = Kind.DAMAGED if version == 0 else Kind.UNSUPPORTED
        raise HeaderError("GGUF version 2 or 3", f"version {version:,}", kind)
    return version


def _count(cursor: Cursor, what: str, smallest: int, limit: int) -> int:
    count = cursor.u64(f"the number of {what}")
    room = min(cursor.remaining // smallest, limit)
    if count > room:
        found = f"{count:,} claimed in a file of {cursor.end:,} bytes"
        raise HeaderError(f"at most {room:,} {what}", found)
    return count


def _shape(cursor: Cursor, name: str) -> tuple[int, ...]:
    count = cursor.u32(f"the number of dimensions of {name!r}")
    if count > MAX_DIMENSIONS:
        raise HeaderError(f"at most {MAX_DIMENSIONS} dimensions in tensor {name!r}", f"{count:,}")
    data = cursor.take(8 * count, f"the shape of {name!r}")
    shape = struct.unpack(f"<{count}q", data)
    elements = 1
    for dimension in shape:
        if dimension < 0:
            raise HeaderError(f"no negative dimension in tensor {name!r}", f"{dimension:,}")
        # A zero makes an empty tensor, which is legal, but must not hide an overflow before it.
        elements *= max(dimension, 1)
    if elements >= 2**63:
        raise HeaderError(f"fewer than 2^63 elements in tensor {name!r}", f"shape {list(shape)}")
    return shape


def _bytes_of(name: str, shape: tuple[int, ...], type_id: int) -> int:
    if type_id in REMOVED:
        found = f"type {type_id} ({REMOVED[type_id]}), which was removed"
        raise HeaderError(f"a tensor type in use for {name!r}", found, Kind.UNSUPPORTED)
    if type_id not in TYPES:
        # A type shortly above the last known is a newer format; a wild number is damage.
        kind = Kind.UNSUPPORTED if type_id < 256 else Kind.DAMAGED
        expected = f"a tensor type from 0 to {max(TYPES)} for {name!r}"
        raise HeaderError(expected, f"type {type_id:,}", kind)
    kind_name, block, size = TYPES[type_id]
    row = shape[0] if shape else 1
    if row % block:
        found = f"{row:,} elements per row"
        raise HeaderError(f"rows of {name!r} in blocks of {block} ({kind_name})", found)
    elements = 1
    for dimension in shape:
        elements *= dimension
    return elements // block * size


def _tensor(cursor: Cursor, number: int, expected_offset: int) -> GgufTensor:
    raw = cursor.string(f"the name of tensor {number}")
    if len(raw) >= MAX_NAME:
        found = f"{len(raw):,} bytes"
        raise HeaderError(f"a name under {MAX_NAME} bytes for tensor {number}", found)
    if b"\0" in raw:
        found = f"'{clean_bytes(raw)}'"
        raise HeaderError(f"a name without zero bytes for tensor {number}", found)
    name = text_of(raw)
    shape = _shape(cursor, name)
    type_id = cursor.u32(f"the type of {name!r}")
    size = _bytes_of(name, shape, type_id)
    offset = cursor.u64(f"the offset of {name!r}")
    if offset != expected_offset:
        raise HeaderError(f"tensor {name!r} at offset {expected_offset:,}", f"{offset:,}")
    return GgufTensor(name, shape, type_id, offset, size)


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _tensors(cursor: Cursor, count: int, alignment: int) -> tuple[GgufTensor, ...]:
    tensors: list[GgufTensor] = []
    names: set[str] = set()
    offset = 0
    for number in range(count):
        tensor = _tensor(cursor, number, offset)
        if tensor.name in names:
            raise HeaderError("every tensor name once", f"{tensor.name!r} twice")
        names.add(tensor.name)
        tensors.append(tensor)
        offset += _padded(tensor.bytes, alignment)
    return tuple(tensors)


def _number(metadata: Mapping[str, Value], key: str) -> int:
    value = metadata.get(key, 0)
    return value if isinstance(value, int) else 0


_remembered = Remembered[GgufHeader](lambda header: header.data_offset >= REMEMBERED_FROM)


def parse_gguf(file: RegularFile) -> GgufHeader:
    """Read the header of an open file, or remember it. See :func:`read_gguf`."""
    return _remembered.read(file, _parsed)


def _parsed(file: RegularFile) -> GgufHeader:
    cursor = Cursor(file)
    version = _begin(cursor, file)
    tensor_count = _count(cursor, "tensors", _SMALLEST_TENSOR, MAX_TENSORS)
    pair_count = _count(cursor, "metadata pairs", _SMALLEST_PAIR, MAX_PAIRS)
    metadata: dict[str, Value] = {}
    types: dict[str, str] = {}
    for number in range(pair_count):
        key = read_key(cursor, number)
        if key in metadata:
            raise HeaderError("every metadata key once", f"{key!r} twice")
        types[key], metadata[key] = read_value(cursor, key)
    alignment = alignment_of(metadata)
    tensors = _tensors(cursor, tensor_count, alignment)
    data_offset = _padded(cursor.position, alignment) if tensors else cursor.position
    for tensor in tensors:
        last = data_offset + tensor.offset + tensor.bytes
        if last > file.size:
            found = f"a file of {file.size:,} bytes; it looks cut short"
            raise HeaderError(f"tensor {tensor.name!r} up to byte {last:,}", found)
    return GgufHeader(
        version=version,
        alignment=alignment,
        metadata=metadata,
        tensors=tensors,
        file_size=file.size,
        data_offset=data_offset,
        split_no=_number(metadata, "split.no"),
        split_count=_number(metadata, "split.count"),
        split_tensors_count=_number(metadata, "split.tensors.count"),
        types=types,
    )


def read_gguf(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file.

    Reads the header only, at most 128 MiB of it, whatever the file's size.

    Raises:
        HeaderError: it is no regular file (``NotRegular``), or the header is damaged, of another
            format or of a version no runtime reads; ``kind`` says which.
    """
    with open_regular(path) as file:
        return parse_gguf(file)


def peek_gguf(path: Path) -> Mapping[str, Value]:
    """The metadata up to the vocabulary, for a listing: cheap, and empty for a damaged file.

    What stands after the vocabulary is not read, and nothing is checked further.
    """
    metadata: dict[str, Value] = {}
    try:
        with open_regular(path) as file:
            cursor = Cursor(file)
            _begin(cursor, file)
            cursor.u64("the number of tensors")
            for number in range(_count(cursor, "metadata pairs", _SMALLEST_PAIR, MAX_PAIRS)):
                key = read_key(cursor, number)
                if key == VOCABULARY:
                    break
                metadata.setdefault(key, read_value(cursor, key)[1])
    except HeaderError:
        pass
    return metadata
