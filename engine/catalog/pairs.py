"""The metadata pairs of a GGUF header: scalars and texts kept, vocabularies passed over."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from engine.catalog.cursor import Cursor, Tokens
from engine.catalog.header import HeaderError

ALIGNMENT = "general.alignment"
VOCABULARY = "tokenizer.ggml.tokens"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1024 * 1024
MAX_KEY = 65_535
KEPT_STRINGS = 64
KEPT_NUMBERS = 512
"""Arrays of numbers are kept up to this length: one number per layer, and llama.cpp allows 512."""

_SCALARS: dict[int, tuple[str, struct.Struct]] = {
    0: ("u8", struct.Struct("<B")),
    1: ("i8", struct.Struct("<b")),
    2: ("u16", struct.Struct("<H")),
    3: ("i16", struct.Struct("<h")),
    4: ("u32", struct.Struct("<I")),
    5: ("i32", struct.Struct("<i")),
    6: ("f32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<B")),
    10: ("u64", struct.Struct("<Q")),
    11: ("i64", struct.Struct("<q")),
    12: ("f64", struct.Struct("<d")),
}
_U32, _STRING, _ARRAY = 4, 8, 9

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array in the metadata. ``values`` is None for one too long to keep."""

    element_type: str
    """``u8`` … ``f64``, ``bool`` or ``string``."""
    length: int
    values: tuple[Scalar, ...] | None
    byte_tokens: int = 0
    """For a vocabulary: how many distinct ``<0xNN>`` tokens it has (256 make it complete)."""
    distinct: bool = True
    """For a vocabulary: whether no token stands in it twice."""


Value = Scalar | GgufArray


def text_of(data: bytes) -> str:
    """Bytes as text; those that are not UTF-8 as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def _kept_string(cursor: Cursor, what: str) -> bytes:
    data = cursor.string(what)
    cursor.keep(len(data), what)
    return data


def _array(cursor: Cursor, key: str) -> GgufArray:
    what = f"the array {key!r}"
    type_id = cursor.u32(f"the element type of {what}")
    length = cursor.u64(f"the length of {what}")
    if type_id == _STRING:
        if length > cursor.remaining // 8:
            found = f"{length:,} claimed with {cursor.remaining:,} bytes left in the file"
            raise HeaderError(f"at most {cursor.remaining // 8:,} strings in {what}", found)
        vocabulary = key == VOCABULARY
        if length > KEPT_STRINGS:
            found_strings = cursor.skip_strings(length, what, vocabulary=vocabulary)
            return GgufArray("string", length, None, *found_strings)
        texts = [_kept_string(cursor, what) for _ in range(length)]
        tokens = Tokens()
        for text in texts if vocabulary else ():
            tokens.add(text)
        return GgufArray("string", length, tuple(map(text_of, texts)), *tokens.found)
    if type_id not in _SCALARS:
        nested = "an array of arrays" if type_id == _ARRAY else f"type {type_id}"
        raise HeaderError(f"an array of numbers or strings in {key!r}", nested)
    name, layout = _SCALARS[type_id]
    if length > cursor.remaining // layout.size:
        found = f"{length:,} claimed with {cursor.remaining:,} bytes left in the file"
        raise HeaderError(f"at most {cursor.remaining // layout.size:,} elements in {what}", found)
    if length > KEPT_NUMBERS:
        cursor.skip(length * layout.size, what)
        return GgufArray(name, length, None)
    cursor.keep(8 * length, what)
    data = cursor.take(length * layout.size, what)
    values = (value for (value,) in layout.iter_unpack(data))
    return GgufArray(name, length, tuple(map(bool, values) if name == "bool" else values))


def read_key(cursor: Cursor, number: int) -> str:
    """The name of the next pair, the ``number``-th from 0."""
    raw = cursor.string(f"key {number}", MAX_KEY)
    cursor.keep(len(raw), f"key {number}")
    if not raw:
        raise HeaderError(f"a name for key {number}", "an empty one")
    return text_of(raw)


def read_value(cursor: Cursor, key: str) -> tuple[str, Value]:
    """The type and the value that follow a key; a long array is gone over, not kept.

    The type is ``u8`` … ``f64``, ``bool``, ``string`` or ``array``.

    Raises:
        HeaderError: its type is unknown, or its length cannot be.
    """
    type_id = cursor.u32(f"the type of {key!r}")
    if key == ALIGNMENT and type_id != _U32:
        found = _SCALARS[type_id][0] if type_id in _SCALARS else "no number"
        raise HeaderError(f"{key} as u32", found)
    if type_id == _ARRAY:
        return "array", _array(cursor, key)
    if type_id == _STRING:
        return "string", text_of(_kept_string(cursor, f"the value of {key!r}"))
    if type_id not in _SCALARS:
        raise HeaderError(f"a type from 0 to 12 for {key!r}", f"type {type_id}")
    name, layout = _SCALARS[type_id]
    (value,) = layout.unpack(cursor.take(layout.size, f"the value of {key!r}"))
    return name, bool(value) if name == "bool" else value


def alignment_of(metadata: Mapping[str, Value]) -> int:
    """What tensor offsets are multiples of.

    Raises:
        HeaderError: the file names a value that is no power of two up to 1 MiB.
    """
    value = metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or value <= 0 or value & (value - 1) or value > MAX_ALIGNMENT:
        raise HeaderError(f"{ALIGNMENT} a power of two up to {MAX_ALIGNMENT:,}", f"{value}")
    return value
