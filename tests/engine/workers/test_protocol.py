import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.workers.protocol import MAX_FRAME, Decoder, ProtocolError

bodies = st.lists(st.binary(max_size=40), max_size=6)


@given(bodies, st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(0, 3))
def test_bodies_are_whole_in_whatever_pieces_they_arrive(
    sent: list[bytes], cuts: list[int], torn: int
) -> None:
    stream = b"".join(struct.pack(">I", len(body)) + body for body in sent)
    stream += struct.pack(">I", 9)[:torn]
    decoder, got, at = Decoder(), [], 0
    for number in range(len(stream)):
        count = cuts[number % len(cuts)]
        got += decoder.feed(stream[at : at + count])
        at += count
    assert got == sent
    assert decoder.torn is (torn > 0)


@pytest.mark.parametrize("before", [b"", struct.pack(">I", 2) + b"o"])
def test_a_length_beyond_the_limit_is_no_frame(before: bytes) -> None:
    decoder = Decoder()
    assert decoder.feed(before) == []
    with pytest.raises(ProtocolError):
        decoder.feed(b"k" * bool(before) + struct.pack(">I", MAX_FRAME + 1))
