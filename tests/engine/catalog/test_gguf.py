import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog.cursor import MAX_HEADER, WINDOW
from engine.catalog.ggml import file_type_name, quantisation_in
from engine.catalog.gguf import GgufArray, parse_gguf, peek_gguf, read_gguf, split_of
from engine.catalog.header import HeaderError, Kind
from engine.catalog.regular import open_regular
from engine.catalog.starter import starter_file
from tests.effort import examples
from tests.forge import Raw, Tensor, Typed, array, gguf_bytes

ARCHITECTURE = ("general.architecture", "llama")
I8, I64 = 24, 27


def write(folder: Path, data: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(data)
    return path


def refusal(folder: Path, data: bytes) -> HeaderError:
    with pytest.raises(HeaderError) as caught:
        read_gguf(write(folder, data))
    return caught.value


# Every variant of llama.cpp's tests/test-gguf.cpp that must be refused, and the kind we say it is.
REFUSED: dict[str, tuple[bytes, Kind, str]] = {
    "bad magic": (gguf_bytes(magic=b"FUGG"), Kind.DAMAGED, "the magic 'GGUF'"),
    "version 0": (gguf_bytes(version=0), Kind.DAMAGED, "version 2 or 3"),
    "version 1": (gguf_bytes(version=1), Kind.UNSUPPORTED, "version 2 or 3"),
    "version 4": (gguf_bytes(version=4), Kind.UNSUPPORTED, "version 2 or 3"),
    "big-endian": (gguf_bytes(version=3 << 24), Kind.UNSUPPORTED, "little-endian"),
    "pairs -1": (gguf_bytes(pair_count=-1), Kind.DAMAGED, "metadata pairs"),
    "tensors -1": (gguf_bytes(tensor_count=-1), Kind.DAMAGED, "tensors"),
    "key length -1": (
        gguf_bytes(None, ())[:24] + b"\xff" * 8 + b"general.architecture" * 4,
        Kind.DAMAGED,
        "key 0",
    ),
    "empty key": (gguf_bytes([("", 1)]), Kind.DAMAGED, "a name for key 0"),
    "bad value type": (gguf_bytes([("k", Raw(struct.pack("<I", 13)))]), Kind.DAMAGED, "'k'"),
    "duplicate key": (gguf_bytes([ARCHITECTURE, ARCHITECTURE]), Kind.DAMAGED, "key once"),
    "alignment 13": (
        gguf_bytes([("general.alignment", 13)], alignment=13),
        Kind.DAMAGED,
        "power of two",
    ),
    "alignment 0": (gguf_bytes([("general.alignment", 0)]), Kind.DAMAGED, "power of two"),
    "alignment 2 MiB": (gguf_bytes([("general.alignment", 1 << 21)]), Kind.DAMAGED, "power of two"),
    "alignment as i32": (
        gguf_bytes([("general.alignment", Typed("i32", 32))]),
        Kind.DAMAGED,
        "as u32",
    ),
    "alignment as text": (gguf_bytes([("general.alignment", "32")]), Kind.DAMAGED, "as u32"),
    "name of 64 bytes": (gguf_bytes(None, [Tensor("n" * 64)]), Kind.DAMAGED, "under 64 bytes"),
    "name with zero byte": (gguf_bytes(None, [Tensor(b"a\0b")]), Kind.DAMAGED, "zero bytes"),
    "5 dimensions": (gguf_bytes(None, [Tensor("a", (1,) * 5)]), Kind.DAMAGED, "dimensions"),
    "dimension -1": (gguf_bytes(None, [Tensor("a", (-1,))]), Kind.DAMAGED, "negative"),
    "shape too big": (
        gguf_bytes(None, [Tensor("a", (4 * (2**31 - 1),) * 4, size=16)]),
        Kind.DAMAGED,
        "2^63",
    ),
    "overflow behind a zero": (
        gguf_bytes(None, [Tensor("a", (2**62, 2**62, 0), size=0)]),
        Kind.DAMAGED,
        "2^63",
    ),
    "bytes too big": (
        gguf_bytes(None, [Tensor("a", (2**62,), I64, size=16)]),
        Kind.DAMAGED,
        "up to byte",
    ),
    "type 43": (gguf_bytes(None, [Tensor("a", type=43)]), Kind.UNSUPPORTED, "type"),
    "type -1": (gguf_bytes(None, [Tensor("a", type=-1)]), Kind.DAMAGED, "type"),
    "removed type": (gguf_bytes(None, [Tensor("a", type=36)]), Kind.UNSUPPORTED, "in use"),
    "offset -1": (gguf_bytes(None, [Tensor("a", offset=-1)]), Kind.DAMAGED, "at offset 0"),
    "duplicate tensor": (gguf_bytes(None, [Tensor("a"), Tensor("a")]), Kind.DAMAGED, "name once"),
    "packed at 1, read at 32": (
        gguf_bytes(None, [Tensor("a", (3,), I8), Tensor("b", (3,), I8)], alignment=1),
        Kind.DAMAGED,
        "at offset 32",
    ),
    "1 byte short": (gguf_bytes(None, [Tensor("a", (32,), I8)], cut=1), Kind.DAMAGED, "up to byte"),
    "two tensors that overflow together": (
        gguf_bytes(None, [Tensor("a", (2**63 - 64,), I8), Tensor("b", (2**63 - 64,), I8)]),
        Kind.DAMAGED,
        "up to byte",
    ),
    "rows off the block": (gguf_bytes(None, [Tensor("a", (33,), 2)]), Kind.DAMAGED, "blocks of 32"),
    "array longer than the file": (
        gguf_bytes([("k", array("u8", [1], 2**40))]),
        Kind.DAMAGED,
        "elements",
    ),
    "strings longer than the file": (
        gguf_bytes([("k", array("string", ["a"], 2**40))]),
        Kind.DAMAGED,
        "strings",
    ),
    "array of arrays": (
        gguf_bytes([("k", Raw(struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 0)))]),
        Kind.DAMAGED,
        "numbers or strings",
    ),
    "empty file": (b"", Kind.DAMAGED, "the magic 'GGUF'"),
    "4 bytes": (b"GGUF", Kind.DAMAGED, "the version"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_llama_cpp_refuses(tmp_path: Path, case: str) -> None:
    data, kind, expected = REFUSED[case]
    error = refusal(tmp_path, data)
    assert error.kind is kind
    assert expected in error.expected
    assert error.found


LEGAL: dict[str, bytes] = {
    "no pairs and no tensors": gguf_bytes({}, ()),
    "version 2": gguf_bytes(version=2),
    "zero-element tensor": gguf_bytes(None, [Tensor("a", (0,)), Tensor("b")]),
    "no dimensions": gguf_bytes(None, [Tensor("a", ())]),
    "alignment 1": gguf_bytes({"general.alignment": 1}, [Tensor("a", (3,), I8)], alignment=1),
    "alignment 64": gguf_bytes({"general.alignment": 64}, [Tensor("a")], alignment=64),
    "quantised rows": gguf_bytes(None, [Tensor("a", (64, 2), 2), Tensor("b", (32,), 3)]),
    "the last padding missing": gguf_bytes(None, [Tensor("a", (3,), I8)], cut=29),
    "bytes behind the tensors": gguf_bytes(extra=b"more"),
    "name of 63 bytes": gguf_bytes(None, [Tensor("n" * 63)]),
    "every type of value": gguf_bytes(
        [(kind, Typed(kind, 1)) for kind in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")]
        + [("f32", Typed("f32", 1)), ("f64", Typed("f64", 1)), ("bool", True), ("string", "s")]
    ),
}


@pytest.mark.parametrize("case", LEGAL)
def test_reads_what_is_legal(tmp_path: Path, case: str) -> None:
    header = read_gguf(write(tmp_path, LEGAL[case]))
    assert header.file_size == len(LEGAL[case])


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", Kind.DAMAGED, "Git LFS"),
        (b"\n<!DOCTYPE html><html>", Kind.DAMAGED, "HTML page"),
        (b"\0" * 5000, Kind.DAMAGED, "zero bytes"),
        (b"", Kind.DAMAGED, "an empty file"),
        (b"PK\x03\x04" + b"\1" * 60, Kind.FOREIGN, "zip archive"),
        (struct.pack("<Q", 16) + b'{"a":1}         ', Kind.FOREIGN, "safetensors"),
        (b"ggml" + b"\1" * 60, Kind.FOREIGN, "older than GGUF"),
        (b"\x1b]52;c;evil\x07", Kind.DAMAGED, "␛]52"),
    ],
)
def test_names_what_a_file_really_is(tmp_path: Path, data: bytes, kind: Kind, found: str) -> None:
    error = refusal(tmp_path, data)
    assert error.kind is kind
    assert found in error.found
    assert "\x1b" not in str(error)


def test_keeps_short_arrays_and_passes_over_vocabularies(tmp_path: Path) -> None:
    tokens = [f"<0x{n:02X}>" for n in range(256)] + ["x" * 9, "<0xZZ>"] * 3000
    metadata = {
        "tokenizer.ggml.tokens": array("string", tokens),
        "tokenizer.ggml.scores": array("f32", [0.5] * 5000),
        "llama.attention.head_count": array("i32", list(range(126))),
        "names": ["a", "b"],
        "flags": array("bool", [1, 0]),
        "last": 7,
    }
    header = read_gguf(write(tmp_path, gguf_bytes(metadata)))
    assert header.metadata == {
        "tokenizer.ggml.tokens": GgufArray("string", 6256, None, byte_tokens=256, distinct=False),
        "tokenizer.ggml.scores": GgufArray("f32", 5000, None),
        "llama.attention.head_count": GgufArray("i32", 126, tuple(range(126))),
        "names": GgufArray("string", 2, ("a", "b")),
        "flags": GgufArray("bool", 2, (True, False)),
        "last": 7,
    }


def test_counts_byte_tokens_across_the_windows_edge(tmp_path: Path) -> None:
    for shift in range(16):
        filler = ["y" * 200] * (WINDOW // 208) + ["z" * (n % 40) for n in range(shift)]
        tokens = [*filler, *(f"<0x{n:02X}>" for n in range(256)), *filler, "<0x00>"]
        metadata = {"pad": "p" * shift, "tokenizer.ggml.tokens": array("string", tokens), "e": 1}
        header = read_gguf(write(tmp_path, gguf_bytes(metadata)))
        vocabulary = header.metadata["tokenizer.ggml.tokens"]
        assert isinstance(vocabulary, GgufArray)
        assert (vocabulary.byte_tokens, vocabulary.length) == (256, len(tokens))
        assert header.metadata["e"] == 1


def test_split_keys(tmp_path: Path) -> None:
    metadata = {
        "split.no": Typed("u16", 1),
        "split.count": Typed("u16", 3),
        "split.tensors.count": Typed("i32", 9),
    }
    header = read_gguf(write(tmp_path, gguf_bytes(metadata)))
    assert (header.split_no, header.split_count, header.split_tensors_count) == (1, 3, 9)
    assert split_of("Kimi-K2-00002-of-00013.gguf") == ("Kimi-K2", 2, 13)
    assert split_of("Kimi-K2-2-of-13.gguf") is None


def test_a_huge_file_costs_no_more_than_its_header(tmp_path: Path) -> None:
    size = 400 * 10**9 // 4
    data = gguf_bytes(None, [Tensor("a", (size,), size=0)])
    path = write(tmp_path, data)
    with path.open("r+b") as file:
        file.truncate(len(data) + 4 * size)
    with open_regular(path) as regular:
        header = parse_gguf(regular)
        assert header.tensors[0].bytes == 4 * size
        assert regular.bytes_read <= WINDOW + 4096


def test_a_header_that_claims_to_be_huge_is_given_up(tmp_path: Path) -> None:
    # Ten billion empty strings in a sparse file: each is legal, all together are no header.
    path = write(tmp_path, gguf_bytes([("k", array("string", [], 10**10))], ()))
    with path.open("r+b") as file:
        file.truncate(10**11)
    with open_regular(path) as regular:
        with pytest.raises(HeaderError, match="at most"):
            parse_gguf(regular)
        assert regular.bytes_read <= MAX_HEADER + 2 * WINDOW


def test_peek_stops_at_the_vocabulary_and_never_fails(tmp_path: Path) -> None:
    metadata = {"general.architecture": "llama", "tokenizer.ggml.tokens": ["a"], "behind": 1}
    data = gguf_bytes(metadata)
    assert peek_gguf(write(tmp_path, data)) == {"general.architecture": "llama"}
    assert peek_gguf(write(tmp_path, data[:70])) == {"general.architecture": "llama"}
    assert peek_gguf(tmp_path / "absent.gguf") == {}


def test_the_starters_header() -> None:
    path = starter_file()
    assert path is not None, "the starter package belongs to the development environment"
    header = read_gguf(path)
    assert len(header.tensors) == 272
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.block_count"] == 30
    assert header.data_offset + sum(t.bytes for t in header.tensors) <= header.file_size


def test_type_names() -> None:
    assert file_type_name(3) == "Q4_1"
    assert file_type_name(15) == "Q4_K_M"
    assert file_type_name(41) == "Q2_0"
    assert [file_type_name(odd) for odd in (-1, 42, True, "3", None)] == [""] * 5
    assert quantisation_in("Qwen3-8B-UD-Q4_K_XL.gguf") == "Q4_K_XL"
    assert quantisation_in("SmolLM2.q4_1.gguf") == "Q4_1"
    assert quantisation_in("Q4you.gguf") == ""


VALID = gguf_bytes(
    {
        "general.architecture": "llama",
        "general.alignment": 32,
        "tokenizer.ggml.tokens": [f"t{n}" for n in range(70)],
        "scores": array("f32", [0.0] * 4),
    },
    [Tensor("a", (32, 2), 2), Tensor("b", (8,)), Tensor("c", (0,))],
)


@settings(
    max_examples=examples(300),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=9)), max_size=4
    ),
    length=st.integers(0, len(VALID)) | st.just(len(VALID)),
)
def test_mutations_end_in_a_header_or_a_refusal(
    tmp_path: Path, edits: list[tuple[int, bytes]], length: int
) -> None:
    data = bytearray(VALID)
    for place, piece in edits:
        data[place : place + len(piece)] = piece
    path = write(tmp_path, bytes(data[:length]))
    peek_gguf(path)
    try:
        header = read_gguf(path)
    except HeaderError:
        pass
    else:
        assert all(
            header.data_offset + tensor.offset + tensor.bytes <= header.file_size
            for tensor in header.tensors
        )


def test_every_truncation_of_a_header_is_refused(tmp_path: Path) -> None:
    for length in range(len(VALID) - 64):
        assert refusal(tmp_path, VALID[:length]).kind is Kind.DAMAGED
