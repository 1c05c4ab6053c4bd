import struct
from pathlib import Path

import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog.header import HeaderError, Kind
from engine.catalog.regular import open_regular
from engine.catalog.safetensors import SafetensorsTensor, parse_safetensors, read_safetensors
from tests.effort import examples
from tests.forge import safetensors_bytes


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return path


def reference(data: bytes) -> set[str]:
    """The names of the tensors that the format's reference reads."""
    return {name for name, _ in safetensors.deserialize(data)}  # type: ignore[no-untyped-call]


def info(begin: int, end: int, shape: object = (1,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def one(data: bytes = bytes(4), **tensors: object) -> bytes:
    return safetensors_bytes(header=tensors, data=data)


DOUBLE = (
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
)
REFUSED: dict[str, tuple[bytes, str]] = {
    "ten tensors on one region": (
        safetensors_bytes(header={f"t{n}": info(0, 4) for n in range(10)}, data=bytes(4)),
        "at offset 4",
    ),
    "trailing bytes": (safetensors_bytes(data=bytes(9)), "a file of"),
    "missing bytes": (safetensors_bytes(cut=1), "a file of"),
    "header too large": (safetensors_bytes(length=100_000_001), "at most 100,000,000"),
    "header length -1": (safetensors_bytes(length=-1), "at most 100,000,000"),
    "header too small": (b"", "at least 16 bytes"),
    "7 bytes": (b"\1\2\3\4\5\6\7", "at least 16 bytes"),
    "header longer than the file": (safetensors_bytes(length=4096), "a header of 4,096"),
    "header not UTF-8": (safetensors_bytes(header=b'{"\xff": 1}      '), "a JSON object"),
    "header not JSON": (safetensors_bytes(header=b"{invalid json}  "), "a JSON object"),
    "a list": (safetensors_bytes(header=b"[1, 2, 3, 4, 5]"), "a JSON object"),
    "zero bytes behind the JSON": (safetensors_bytes(header=b"{}" + bytes(14)), "a JSON object"),
    "shape against offsets": (one(a=info(0, 4, (2,))), "8 bytes"),
    "elements overflow": (one(a=info(0, 4, (2**32, 2**32, 2**32))), "countable"),
    "bytes overflow": (one(a=info(0, 4, (2**62,), "F64")), "bytes for tensor"),
    "a hole": (one(bytes(8), a=info(4, 8)), "at offset 0"),
    "end before begin": (one(a=info(4, 0)), "4 bytes"),
    "half a byte": (one(bytes(2), a=info(0, 2, (3,), "F4")), "1.5 bytes"),
    "unknown dtype": (one(a=info(0, 4, dtype="F7")), "dtype"),
    "shape of floats": (one(a=info(0, 4, (1.0,))), "shape"),
    "shape of a bool": (one(a=info(0, 4, (True,))), "shape"),
    "negative shape": (one(a=info(0, 4, (-1,))), "shape"),
    "three offsets": (
        one(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}),
        "data_offsets",
    ),
    "no info": (one(a=1), "a JSON object"),
    "a name twice": (safetensors_bytes(header=DOUBLE, data=bytes(4)), "a JSON object"),
    "half a surrogate pair": (
        safetensors_bytes(header={"\ud800": info(0, 4)}, data=bytes(4)),
        "UTF-8",
    ),
    "metadata that is no text": (safetensors_bytes(metadata={"a": 1}), "a JSON object"),
    "bottomless nesting": (safetensors_bytes(header=b'{"a":' + b"[" * 100_000), "a JSON object"),
    "a number of 5,000 digits": (safetensors_bytes(header=b'{"a":' + b"1" * 5000), "a JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_the_reference_refuses(tmp_path: Path, case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(HeaderError) as caught:
        read_safetensors(write(tmp_path, data))
    assert expected in caught.value.expected
    if case != "a name twice":  # the one place where the reference is the more lenient
        with pytest.raises(safetensors.SafetensorError):
            reference(data)


LEGAL: dict[str, bytes] = {
    "one tensor": safetensors_bytes(),
    "white space around": safetensors_bytes(header=b' \n\t{ "__metadata__": {} }  '),
    "a zero-sized tensor": one(b"", a=info(0, 0, (0, 3))),
    "a scalar": one(a=info(0, 4, ())),
    "four bits": one(bytes(2), a=info(0, 2, (4,), "F4")),
    "metadata": safetensors_bytes(metadata={"format": "mlx"}),
    "any order": one(bytes(8), b=info(4, 8), a=info(0, 4)),
}


@pytest.mark.parametrize("case", LEGAL)
def test_reads_what_is_legal(tmp_path: Path, case: str) -> None:
    header = read_safetensors(write(tmp_path, LEGAL[case]))
    assert {tensor.name for tensor in header.tensors} == reference(LEGAL[case])


def test_tells_the_tensors_in_the_order_of_their_data(tmp_path: Path) -> None:
    data = safetensors_bytes(
        {"b": ("BF16", (2, 3), 12), "a": ("U32", (1,), 4)}, metadata={"k": "v"}
    )
    header = read_safetensors(write(tmp_path, data))
    assert header.tensors == (
        SafetensorsTensor("b", "BF16", (2, 3), 0, 12),
        SafetensorsTensor("a", "U32", (1,), 12, 4),
    )
    assert header.metadata == {"k": "v"}
    assert header.data_offset + 16 == header.file_size == len(data)


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", Kind.DAMAGED, "Git LFS"),
        (b"<html><body>404</body></html>", Kind.DAMAGED, "HTML"),
        (b"\0" * 100, Kind.DAMAGED, "zero bytes"),
        (b"PK\x03\x04" + b"\1" * 60, Kind.FOREIGN, "zip"),
        (b"GGUF" + b"\3\0\0\0" * 9, Kind.FOREIGN, "GGUF"),
    ],
)
def test_names_what_a_file_really_is(tmp_path: Path, data: bytes, kind: Kind, found: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_safetensors(write(tmp_path, data))
    assert caught.value.kind is kind
    assert found in caught.value.found


def test_a_huge_file_costs_no_more_than_its_header(tmp_path: Path) -> None:
    size = 400 * 10**9
    data = safetensors_bytes({"a": ("U8", (size,), size)}, data=b"")
    path = write(tmp_path, data)
    with path.open("r+b") as file:
        file.truncate(len(data) + size)
    with open_regular(path) as regular:
        assert parse_safetensors(regular).tensors[0].bytes == size
        assert regular.bytes_read <= len(data) + 4096


VALID = safetensors_bytes(
    {"a": ("F32", (2, 2), 16), "b": ("BF16", (3,), 6), "c": ("U8", (0,), 0)}, metadata={"k": "v"}
)


@settings(
    max_examples=examples(300),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(VALID) - 1),
            st.binary(min_size=1, max_size=3) | st.sampled_from([b'"', b"{", b"9", b"-1", b"1e9"]),
        ),
        max_size=3,
    ),
    cut=st.integers(0, len(VALID)) | st.just(0),
)
def test_what_we_read_the_reference_reads_too(
    tmp_path: Path, edits: list[tuple[int, bytes]], cut: int
) -> None:
    edited = bytearray(VALID)
    for place, piece in edits:
        edited[place : place + len(piece)] = piece
    data = bytes(edited[: len(edited) - cut])
    try:
        header = read_safetensors(write(tmp_path, data))
    except HeaderError:
        pass
    else:
        assert reference(data) == {tensor.name for tensor in header.tensors}


def test_a_header_of_wild_length_reads_no_further_than_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, struct.pack("<Q", 99_999_999) + b"{" + bytes(20))
    with open_regular(path) as regular:
        with pytest.raises(HeaderError, match="cut short"):
            parse_safetensors(regular)
        assert regular.bytes_read < 100
