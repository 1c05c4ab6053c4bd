"""The gate under mutation: always an answer, always the same, bounded; and what it lets through
ends no worker."""

import json
import math
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.admission.questions import questions
from engine.catalog.header import HeaderError
from engine.catalog.regular import RegularFile, open_regular
from engine.catalog.safetensors import MAX_TENSORS, parse_safetensors, read_safetensors
from engine.catalog.scan import resolve_path
from engine.errors import Code
from engine.types import Explanation
from tests.effort import examples
from tests.engine.admission.folder_corpus import sharded
from tests.engine.admission.gguf_corpus import GGUF
from tests.engine.admission.models import METADATA, PIECED, Ask, changed, tensors, write_folder
from tests.engine.admission.test_corpus import supports
from tests.forge import Tensor, Typed, array, gguf_bytes, safetensors_bytes

MUTATIONS = settings(
    max_examples=examples(400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_WILD = st.sampled_from(
    [
        b"\xff" * 8,
        b"\0" * 8,
        b"\x01\0\0\0\0\0\0\0",
        b"\xff\xff\xff\x7f",
        b"GGUF",
        b"\x80",
        b'"',
        b"{",
    ]
) | st.binary(min_size=1, max_size=9)
_JSON_PIECES = st.sampled_from(
    [
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
        b"NaN",
        b'"',
        b"\\ud800",
        b"9" * 40,
        b",",
        b"\0",
        b"[[",
    ]
)


def judged(ask: Ask, path: Path) -> Explanation:
    """The gate's answer, having been the same twice and no failure of its own."""
    explanation = ask(path, supports=supports)
    assert explanation == ask(path, supports=supports)
    assert all(check.code is not Code.UNKNOWN_FAILURE for check in explanation.checks), explanation
    assert explanation.admitted is (explanation.decision is None)
    entry = resolve_path(path)
    assert questions(entry) == questions(entry)
    return explanation


def mutated(data: bytes, edits: list[tuple[float, bytes]], end: float) -> bytes:
    """Pieces written over a file at fractions of its length, and its end cut off."""
    content = bytearray(data)
    for place, piece in edits:
        at = int(place * len(content))
        content[at : at + len(piece)] = piece
    return bytes(content[: max(int(end * len(content)), 0)])


PLACE = st.floats(0, 1, exclude_max=True)
END = st.just(1.0) | PLACE


@MUTATIONS
@given(
    edits=st.lists(st.tuples(PLACE, _WILD), min_size=1, max_size=4),
    end=END,
    pieced=st.booleans(),
)
def test_mutated_gguf(
    ask: Ask, tmp_path: Path, edits: list[tuple[float, bytes]], end: float, pieced: bool
) -> None:
    # Most of the file is its vocabulary; short of that, every edit meets a length or a key.
    base = changed(PIECED if pieced else METADATA, {"tokenizer.ggml.tokens": ["a", "b"]})
    (tmp_path / "m.gguf").write_bytes(mutated(gguf_bytes(base, tensors()), edits, end))
    judged(ask, tmp_path / "m.gguf")


@MUTATIONS
@given(
    name=st.sampled_from(
        [
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
        ]
    ),
    edits=st.lists(st.tuples(PLACE, _WILD | _JSON_PIECES), min_size=1, max_size=4),
    end=END,
)
def test_mutated_folder(
    ask: Ask,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    edits: list[tuple[float, bytes]],
    end: float,
) -> None:
    path = sharded(tmp_path_factory.mktemp("m"))
    (path / "tokenizer_config.json").write_text('{"chat_template": "x", "eos_token": "d"}')
    (path / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (path / name).write_bytes(mutated((path / name).read_bytes(), edits, end))
    judged(ask, path)


# -- bounds ---------------------------------------------------------------------------------------


def peak(action: Callable[[], object]) -> int:
    """Most bytes of Python objects alive at once while the action ran."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _many_tensors() -> bytes:
    one = b'"%06x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
    return b"{" + b"".join(one % n for n in range(MAX_TENSORS + 9))[:-1] + b"}"


SIZE = 20_000_000
HEADERS: dict[str, Callable[[], bytes]] = {
    "too many tensors": _many_tensors,
    "empty lists": lambda: b'{"a":[' + b"[]," * (SIZE // 3) + b"[]]}",
    "numbers": lambda: b'{"a":{"dtype":"U8","shape":[' + b"0," * (SIZE // 2) + b"0]}}",
    "metadata": lambda: (
        b'{"__metadata__":{' + b",".join(b'"%x":""' % n for n in range(60_000)) + b"}}"
    ),
    "one name": lambda: b'{"' + b"n" * SIZE + b'":1}',
    "white space": lambda: b"{" + b" " * SIZE + b"}",
    "emoji": lambda: b'{"__metadata__":{"a":"' + "😀".encode() * (SIZE // 4) + b'"}}',
    "escapes": lambda: b'{"a' + b"\\n" * (SIZE // 2) + b'":1}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_safetensors_header_costs_little_more_than_its_length(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "model.safetensors"
    header = HEADERS[name]()
    path.write_bytes(struct.pack("<Q", len(header)) + header)

    def read() -> None:
        with suppress(HeaderError):
            read_safetensors(path)

    assert peak(read) < 3 * len(header) + 120_000_000


def test_two_hundred_thousand_tensors_are_read(tmp_path: Path) -> None:
    header = {f"t{n}": ("U8", (0,), 0) for n in range(200_000)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header))
    with open_regular(path) as file:
        assert len(parse_safetensors(file).tensors) == 200_000
        assert file.bytes_read <= path.stat().st_size + 4096


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors.index.json"])
def test_json_of_empty_lists_is_given_up_before_it_is_built(
    ask: Ask, tmp_path: Path, name: str
) -> None:
    path = write_folder(tmp_path / "m")
    (path / name).write_bytes(b'{"a":[' + b"[]," * 20_000_000 + b"[]]}")
    answers: list[Explanation] = []
    assert peak(lambda: answers.append(ask(path))) < 400_000_000
    assert answers[0].decision is not None
    assert answers[0].decision.code is Code.MODEL_INCOMPLETE


def test_links_to_one_long_header_are_not_all_read(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder(tmp_path / "m")
    header = b'{"__metadata__":{"a":"b"}' + b" " * 8_000_000 + b"}"
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    for number in range(400):
        (path / f"model-{number:04d}.safetensors").symlink_to("model.safetensors")
    read = 0
    whole = RegularFile.read_at

    def counted(self: RegularFile, offset: int, count: int) -> bytes:
        nonlocal read
        data = whole(self, offset, count)
        read += len(data)
        return data

    monkeypatch.setattr(RegularFile, "read_at", counted)
    assert ask(path).decision is not None
    # Of 3.2 GB: what the fingerprint and the weights' check may take, and no more.
    assert read < 1_300_000_000


def test_metadata_of_long_texts_is_given_up(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    texts = {f"k{n}": "\x80" * 1_000_000 for n in range(40)}
    path.write_bytes(gguf_bytes({**texts, **METADATA}, tensors()))
    answers: list[Explanation] = []
    assert peak(lambda: answers.append(ask(path))) < 200_000_000
    assert answers[0].decision is not None


# -- what the gate lets through --------------------------------------------------------------------

_VALUES: tuple[object, ...] = (
    *(0, 1, 3, 33, 513, 2**31, 2**32 - 1, "", "2", Typed("i32", -1), Typed("u64", 2**63)),
    *(Typed("bool", 1), 0.0, -1.0, math.nan, math.inf, array("u32", [2, 2]), array("i32", [-1, 0])),
)
_KEYS = (
    *(key for key in METADATA if not key.endswith("tokens")),
    *("llama.expert_count", "llama.expert_used_count", "llama.expert_group_count"),
    *("llama.nextn_predict_layers", "llama.rope.scaling.type", "llama.rope.freq_base"),
    *("llama.attention.key_length", "llama.attention.sliding_window", "llama.attention.scale"),
    *("llama.rope.scaling.factor", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.scores"),
    *("tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id"),
)


def _variants() -> Iterator[bytes]:
    """Every key with every odd value, every tensor gone or of an odd type."""
    for key in _KEYS:
        for value in (None, *_VALUES):
            yield gguf_bytes(changed(METADATA, {key: value}), tensors())
    for tensor in tensors():
        others = [other for other in tensors() if other.name != tensor.name]
        yield gguf_bytes(METADATA, others)
        for kind in (1, 24, 27):
            odd = [Tensor(t.name, t.shape, kind if t.name == tensor.name else 0) for t in tensors()]
            yield gguf_bytes(METADATA, odd)


@pytest.mark.real
def test_nothing_the_gate_admits_ends_llama_cpp(ask: Ask, tmp_path: Path) -> None:
    paths = []
    for number, data in enumerate(_variants()):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        if judged(ask, path).admitted:
            paths.append(path)
    for name, case in GGUF.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        path = case.make(folder)
        explanation = ask(path, supports=supports)
        if explanation.admitted and "llama" in str(explanation):
            paths.append(Path(explanation.path))
    assert len(paths) > 120
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("native.py"))],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    ends = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(ends) == len(paths)
    deaths = {path: end for path, end, _ in ends if end not in ("loads", "refused")}
    assert not deaths, json.dumps(deaths, indent=1)
    assert sum(end == "loads" for _, end, _ in ends) > 100
