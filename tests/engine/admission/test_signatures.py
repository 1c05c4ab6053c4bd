"""Signatures as data: matching, ranges, and an operator's own file, good or bad."""

import os
from pathlib import Path

import pytest

from engine.admission.signatures import MAX_BYTES, Signature, load_signatures
from engine.admission.version import parse_backend_version, within
from engine.types import Backend

GOOD = """
[[signature]]
id = "mine"
backend = "gguf"
architecture = ["a", "b"]
reason = "it breaks"
reference = "ticket 7"
"""


def test_versions_are_read_as_the_registry_writes_them() -> None:
    assert parse_backend_version("mlx-lm 0.32.2, mlx 0.32.4") == {
        "mlx-lm": "0.32.2",
        "mlx": "0.32.4",
    }
    assert parse_backend_version("") == {}


@pytest.mark.parametrize(
    ("version", "versions", "inside"),
    [
        ("0.30.0", ">=0.30,<0.31", True),
        ("0.30.7", ">=0.30,<0.31", True),
        ("0.30.7.dev1+abc", ">=0.30,<0.31", True),
        ("0.31.0", ">=0.30,<0.31", False),
        ("0.4", ">=0.30", False),
        ("0.32.2", "", True),
        ("odd", ">=0.30", False),
        ("odd", "", True),
    ],
)
def test_ranges(version: str, versions: str, inside: bool) -> None:
    assert within(version, versions) is inside


def test_every_given_field_must_match() -> None:
    signature = Signature(
        "s", Backend.MLX, "r", "u", ("a",), ("4-bit",), package="mlx", versions="<1"
    )
    quantised = frozenset({"4-bit"})
    assert signature.matches(Backend.MLX, "a", quantised, "mlx-lm 2, mlx 0.9")
    assert not signature.matches(Backend.GGUF, "a", quantised, "mlx 0.9")
    assert not signature.matches(Backend.MLX, "b", quantised, "mlx 0.9")
    assert not signature.matches(Backend.MLX, "a", frozenset(), "mlx 0.9")
    assert not signature.matches(Backend.MLX, "a", quantised, "mlx 1.0")
    assert not signature.matches(Backend.MLX, "a", quantised, "mlx-lm 0.1")


def test_the_shipped_file_is_read_and_an_own_one_adds_replaces_and_lifts(tmp_path: Path) -> None:
    shipped, complaint = load_signatures()
    assert not complaint
    assert any("glm_moe_dsa" in signature.architectures for signature in shipped)
    own = tmp_path / "own.toml"
    lifted = f'[[signature]]\nid = "{shipped[0].id}"\nbackend = "mlx"\nreason = "ok"\n'
    own.write_text(f'{GOOD}{lifted}reference = "r"\nblocks = false\n')
    together, complaint = load_signatures(own)
    assert not complaint
    assert len(together) == len(shipped) + 1
    assert not together[0].blocks


@pytest.mark.parametrize(
    "content",
    [
        "not toml [",
        "[[signature]]\nid = 'x'",
        GOOD + "colour = 'red'",
        GOOD.replace("gguf", "gpu"),
        GOOD.replace('architecture = ["a", "b"]', ""),
        GOOD + "versions = '>=1'",
        GOOD + "package = 'p'\nversions = 'one'",
        "x" * (MAX_BYTES + 1),
    ],
)
def test_a_bad_own_file_is_told_and_the_shipped_ones_stay(tmp_path: Path, content: str) -> None:
    own = tmp_path / "own\x1b.toml"
    own.write_text(content)
    known, complaint = load_signatures(own)
    assert known == load_signatures()[0]
    assert "not used" in complaint
    assert "\x1b" not in complaint
    assert "\n" not in complaint


def test_an_own_file_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", tmp_path / "binary"):
        known, complaint = load_signatures(path)
        assert known
        assert complaint
