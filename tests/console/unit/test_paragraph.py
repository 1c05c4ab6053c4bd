"""Foreign text in paragraphs: never wider than its room, nothing lost, nothing that controls."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.conversation import Conversation, Exchange
from console.paragraph import labelled, paragraph, safe, wrap
from console.status import Glyphs
from engine import ChatEnd
from tests.console.stage import HOSTILE, assert_harmless

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
WIDTH = st.integers(2, 60)


@given(TEXT, WIDTH)
def test_wrap_fits_and_loses_nothing(text: str, width: int) -> None:
    shown = safe(text, Glyphs())
    lines = wrap(shown, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(shown.split())


@given(st.lists(TEXT, max_size=8), WIDTH)
def test_an_answer_wraps_the_same_in_pieces_and_whole(pieces: list[str], width: int) -> None:
    growing, whole = Exchange("q", 0.0), Exchange("q", 0.0)
    for piece in pieces:
        growing.add(piece, 1, 1.0)
        growing.wrapped(width, Glyphs())
        whole.add(piece, 1, 1.0)
    assert growing.wrapped(width, Glyphs()) == whole.wrapped(width, Glyphs())


@given(TEXT)
def test_ascii_terminals_get_ascii(text: str) -> None:
    assert safe(text, Glyphs(ascii_only=True)).isascii()


def test_words_stay_whole_and_indents_stay() -> None:
    assert wrap("one two three", 8) == ["one two", "three"]
    assert wrap("    def f():\n        return 1", 40) == ["    def f():", "        return 1"]
    assert wrap("", 10) == [""]
    assert wrap("漢字漢字", 5) == ["漢字", "漢字"]


def test_paragraphs_are_harmless_and_aligned() -> None:
    lines = labelled("found", safe(HOSTILE * 3, Glyphs()), 60) + paragraph(
        safe(HOSTILE, Glyphs()), 60
    )
    for line in lines:
        text = "".join(cell.text for cell in line)
        assert_harmless(text)
        assert cell_len(text) <= 60
    assert labelled("found", "", 60) == []


def test_a_conversation_sends_only_what_was_answered() -> None:
    talk = Conversation("m", system=" be brief ")
    first = talk.ask("one", 0.0)
    first.add("an\x1bswer", 1, 0.5)
    first.finish(ChatEnd("stop"))
    second = talk.ask("two", 1.0)
    second.trouble = "broke off"
    talk.ask("three", 2.0)
    assert [turn.content for turn in talk.turns()] == [" be brief ", "one", "an\x1bswer", "three"]
    assert talk.last_answer() == "an␛swer"
