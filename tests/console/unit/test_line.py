"""Cells are measured in terminal columns, whatever stands in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.line import Cell, cut, left, right, shorten, spread, tidy, width_of


@given(st.text(), st.integers(1, 60))
def test_fitting_gives_exactly_the_width(text: str, width: int) -> None:
    clean = tidy(text)
    assert cell_len(left(clean, width)) == width
    assert cell_len(right(clean, width)) == width
    assert cell_len(cut(clean, width)) <= width
    assert cell_len(shorten(clean, width)) <= width


@given(st.text())
def test_ascii_means_ascii(text: str) -> None:
    assert tidy(text, ascii_only=True).isascii()


def test_a_short_id_keeps_the_end_that_tells_it_from_its_sisters() -> None:
    assert shorten("Qwen3-235B-A22B-Instruct-Q4_K_M", 20).endswith("-Q4_K_M")
    assert shorten("mlx-community/MiniMax-M2.5-4bit", 22) == "mlx…/MiniMax-M2.5-4bit"
    assert shorten("same", 10) == "same"


@pytest.mark.parametrize("name", ["[red]x[/]", "\x1b[31mred", "a\u202eb", "x\ny", "‍👩‍👩‍👧"])
def test_tidy_leaves_no_control_byte(name: str) -> None:
    assert all(ord(c) >= 0x20 and c not in "\x7f\u202e\u200d" for c in tidy(name))


def test_spread_puts_the_end_at_the_edge() -> None:
    line = spread((Cell("a"),), (Cell("12 ms"),), 20)
    assert width_of(line) == 20
    assert line[-1].text == "12 ms"
