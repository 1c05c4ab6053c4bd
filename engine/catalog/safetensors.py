"""A bounded reader of safetensors headers, as strict as the format's reference.

MLX itself accepts holes, overlaps, repeated names and trailing bytes (measured); a
file that needs such leniency was not written by any honest writer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.catalog.header import SAFETENSORS, SNIFF_BYTES, HeaderError, Kind, sniff
from engine.catalog.members import Members
from engine.catalog.regular import RegularFile, open_regular

MAX_HEADER = 100_000_000
"""The reference's limit, in bytes."""
MIN_HEADER = 8
MAX_TENSORS = 262_144
"""In one file; the largest models have about that many in all their shards together."""
MAX_METADATA = 16 * 1024 * 1024
METADATA = "__metadata__"
MAX_DIMENSIONS = 64

BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits per element, for every type the reference (safetensors 0.8) reads."""


@dataclass(frozen=True, slots=True)
class SafetensorsTensor:
    """One tensor's place. ``offset`` counts from the header's ``data_offset``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """Everything before the weights; ``tensors`` in the order of their data."""

    tensors: tuple[SafetensorsTensor, ...]
    metadata: Mapping[str, str]
    file_size: int
    data_offset: int


def _length(file: RegularFile) -> int:
    head = file.read_at(0, SNIFF_BYTES)
    if file.size < 8 + MIN_HEADER or len(head) < 8:
        what, kind = sniff(head, file.size)
        if what == SAFETENSORS:  # with a header too short to hold a tensor
            kind = Kind.DAMAGED
        found = what if file.size == 0 or kind is Kind.FOREIGN else f"{file.size:,} bytes: {what}"
        raise HeaderError(f"at least {8 + MIN_HEADER} bytes of safetensors", found, kind)
    length = int.from_bytes(head[:8], "little")
    # A header begins with '{' after at most some white space; anything else is another file.
    if not head[8:].lstrip(b" \t\r\n").startswith(b"{"):
        what, kind = sniff(head, file.size)
        if not what.startswith("the bytes"):
            raise HeaderError("a safetensors header", what, kind)
    if length < MIN_HEADER:
        raise HeaderError(f"a header of at least {MIN_HEADER} bytes", f"{length} claimed")
    if length > MAX_HEADER:
        raise HeaderError(f"a header of at most {MAX_HEADER:,} bytes", f"{length:,} claimed")
    if length > file.size - 8:
        found = f"a file of {file.size:,} bytes; it looks cut short"
        raise HeaderError(f"a header of {length:,} bytes", found)
    return length


def _naturals(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    # A bool is an int to Python and not to the format.
    if all(type(item) is int and 0 <= item < 2**64 for item in value):
        return tuple(value)
    return None


def _tensor(name: str, value: object) -> SafetensorsTensor:
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise HeaderError("tensor names in UTF-8", repr(name)[:200])
    info = value if isinstance(value, dict) else {}
    dtype, shape = info.get("dtype"), _naturals(info.get("shape"))
    offsets = _naturals(info.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or not isinstance(dtype, str):
        expected = f"dtype, shape and data_offsets for tensor {name!r}"
        raise HeaderError(expected, repr(value)[:200])
    if dtype not in BITS:
        found = repr(dtype[:64])
        raise HeaderError(f"a known dtype for tensor {name!r}", found, Kind.UNSUPPORTED)
    elements = 1
    for dimension in shape:
        elements *= dimension
        if elements >= 2**64:
            found = f"shape {list(shape)}"
            raise HeaderError(f"a countable number of elements in tensor {name!r}", found)
    begin, end = offsets
    bits = elements * BITS[dtype]
    if bits % 8 or end - begin != bits // 8:
        found = f"offsets {begin:,} to {end:,}"
        raise HeaderError(f"{bits / 8:,g} bytes for tensor {name!r} ({dtype})", found)
    return SafetensorsTensor(name, dtype, shape, begin, end - begin)


def _metadata(members: Members, at: int) -> dict[str, str]:
    metadata: dict[str, str] = {}
    room = MAX_METADATA
    for name, place in members.names(at):
        value, members.end = members.small(place)
        if not isinstance(value, str):
            raise HeaderError("only texts in __metadata__", repr(value)[:200])
        if name in metadata:
            raise HeaderError("every name once in __metadata__", f"{name!r} twice")
        room -= len(name) + len(value) + 100
        if room < 0:
            raise HeaderError(f"at most {MAX_METADATA:,} bytes of __metadata__", "more")
        metadata[name] = value
    return metadata


def _content(members: Members) -> tuple[list[SafetensorsTensor], dict[str, str]]:
    tensors: dict[str, SafetensorsTensor] = {}
    metadata: dict[str, str] | None = None
    if members.objects > MAX_TENSORS + 2:
        raise HeaderError(f"at most {MAX_TENSORS:,} tensors in one file", f"{members.objects:,}")
    for name, place in members.names():
        if name in tensors or (name == METADATA and metadata is not None):
            raise HeaderError("a JSON object", f"something else: the name {name!r} twice")
        if name == METADATA:
            metadata = _metadata(members, place)
            continue
        value, members.end = members.small(place)
        tensors[name] = _tensor(name, value)
    members.require_end()
    return list(tensors.values()), metadata or {}


def parse_safetensors(file: RegularFile) -> SafetensorsHeader:
    """Read the header of an open file. See :func:`read_safetensors`."""
    length = _length(file)
    tensors, metadata = _content(Members(file, 8, length))
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.bytes))
    position = 0
    for tensor in tensors:
        if tensor.offset != position:
            what = "a hole" if tensor.offset > position else "an overlap"
            found = f"offset {tensor.offset:,}: {what}"
            raise HeaderError(f"tensor {tensor.name!r} at offset {position:,}", found)
        position += tensor.bytes
    data_offset = 8 + length
    if data_offset + position != file.size:
        short = data_offset + position > file.size
        found = f"{file.size:,} bytes; " + ("it looks cut short" if short else "something follows")
        raise HeaderError(f"a file of {data_offset + position:,} bytes", found)
    return SafetensorsHeader(tuple(tensors), metadata, file.size, data_offset)


def read_safetensors(path: Path) -> SafetensorsHeader:
    """Read and check the header of a safetensors file; no byte of the weights is read.

    Raises:
        HeaderError: it is no regular file (``NotRegular``), or the header is damaged or another
            format; ``kind`` says which.
    """
    with open_regular(path) as file:
        return parse_safetensors(file)
