"""Every token of an answer is told in exactly one delta, with its chance, whatever held it back."""

from hypothesis import given
from hypothesis import strategies as st

from engine.backends.answer import Answer, Reason
from engine.backends.base import StepEvent
from engine.workers.protocol import Delta, Finished, Generate, Sampling, TokenChance


def told(pieces: list[bytes], stops: tuple[str, ...], reason: Reason) -> list[StepEvent]:
    request = Generate(id="r", prompt="x", sampling=Sampling(stop=stops), logprobs=0)
    answer = Answer(request, 7)
    events: list[StepEvent] = []
    for at, piece in enumerate(pieces):
        text = piece.decode("utf-8", "replace")
        chance = TokenChance(text=text, bytes=tuple(piece), logprob=-float(at))
        answer.add(piece, events, chance)
        if answer.stopped:
            break
    answer.end(reason, events)
    return events


PIECES = st.lists(
    st.sampled_from([b"", b"a", b"ab", b"STOP", b"ST", b"OP", "é".encode(), b"\xc3", b"\xa9"])
)


@given(PIECES, st.sampled_from([(), ("STOP",), ("ab", "STOP")]))
def test_no_chance_is_lost_doubled_or_misplaced(
    pieces: list[bytes], stops: tuple[str, ...]
) -> None:
    *deltas, end = told(pieces, stops, "length")
    assert isinstance(end, Finished)
    at = 0
    for delta in deltas:
        assert isinstance(delta, Delta)
        assert len(delta.chances) == delta.tokens
        assert [-chance.logprob for chance in delta.chances] == list(range(at, at + delta.tokens))
        at += delta.tokens
    assert at == end.completion_tokens
    if not stops:
        assert at == len(pieces)


def test_tokens_without_text_are_told_now_and_then() -> None:
    deltas = told([b""] * 20, (), "length")[:-1]
    assert [delta.tokens for delta in deltas if isinstance(delta, Delta)] == [8, 8, 4]


def test_text_held_back_comes_with_the_end_but_not_after_a_cancel() -> None:
    held = [b"yes", b" ST"]
    texts = [e.text for e in told(held, ("STOP",), "stop") if isinstance(e, Delta)]
    assert texts == ["yes", " ", "ST"]
    texts = [e.text for e in told(held, ("STOP",), "cancelled") if isinstance(e, Delta)]
    assert texts == ["yes", " "]
