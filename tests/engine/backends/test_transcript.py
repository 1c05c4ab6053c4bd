"""Text comes out the same however it was cut, and no part of a stop text comes out at all."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from engine.backends.transcript import Transcript

WORDS = st.text(alphabet="abc \u00e9\u4f60\U0001f600", max_size=30)
STOPS = st.lists(st.text(alphabet="abc \u00e9\u4f60", min_size=1, max_size=4), max_size=3)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def whole(pieces: list[bytes], stops: tuple[str, ...]) -> tuple[str, bool]:
    transcript = Transcript(stops)
    text = "".join(transcript.push(piece) for piece in pieces) + transcript.finish()
    return text, transcript.stopped


@given(WORDS, STOPS, st.lists(st.integers(0, 200), max_size=12))
@example("abcd", ["abcd", "bc"], [3])
@example("aab", ["ab"], [1, 2])
def test_any_cutting_gives_the_same_text(text: str, stops: list[str], places: list[int]) -> None:
    data = text.encode()
    expected = whole([bytes([byte]) for byte in data], tuple(stops))
    assert whole(cut(data, places), tuple(stops)) == expected
    assert whole([data], tuple(stops)) == expected


@given(WORDS, STOPS, st.lists(st.integers(0, 200), max_size=12))
def test_no_stop_text_comes_out(text: str, stops: list[str], places: list[int]) -> None:
    seen, stopped = whole(cut(text.encode(), places), tuple(stops))
    assert text.startswith(seen)
    assert not any(stop in seen for stop in stops)
    assert stopped == any(stop in text for stop in stops)
    if not stopped:
        assert seen == text


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=12))
def test_bytes_that_are_no_text_become_replacements(data: bytes, places: list[int]) -> None:
    assert whole(cut(data, places), ())[0] == data.decode("utf-8", "replace")


@given(WORDS, STOPS, st.lists(st.integers(0, 200), max_size=12))
def test_what_came_out_is_never_taken_back(text: str, stops: list[str], places: list[int]) -> None:
    transcript = Transcript(tuple(stops))
    seen = ""
    for piece in cut(text.encode(), places):
        seen += transcript.push(piece)
        # Whatever a reader has, no stop text has begun at its end and is still open.
        assert not any(stop in seen for stop in stops)
        assert text.startswith(seen)


def test_only_what_may_become_a_stop_text_is_held_back() -> None:
    transcript = Transcript(("</end>",))
    assert transcript.push("Hello <") == "Hello "
    assert transcript.push("b> </") == "<b> "
    assert transcript.finish() == "</"


def test_nothing_follows_a_stop_text() -> None:
    transcript = Transcript(("stop",))
    assert transcript.push("one stop two") == "one "
    assert transcript.stopped
    assert transcript.push("three") == ""
    assert transcript.finish() == ""


def test_half_a_character_at_the_end_is_replaced() -> None:
    transcript = Transcript()
    assert transcript.push("é".encode()[:1]) == ""
    assert transcript.finish() == "\ufffd"
