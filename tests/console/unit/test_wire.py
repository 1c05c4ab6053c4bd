"""Fewer bytes draw the same picture: both streams are played into a terminal and compared."""

import pyte
from hypothesis import given
from hypothesis import strategies as st

from console.wire import lean

WIDTH, HEIGHT = 40, 6
RGB = st.sampled_from(["1;2;3", "200;100;50", "9;9;9"])
LOOKS = st.builds(
    lambda bold, fore, back: ";".join(part for part in (bold, fore, back) if part),
    st.sampled_from(["", "1", "1;7", "3"]),
    st.one_of(st.just(""), st.just("31"), st.just("39"), RGB.map(lambda c: f"38;2;{c}")),
    st.one_of(st.just(""), st.just("44"), st.just("48;5;7"), RGB.map(lambda c: f"48;2;{c}")),
)
WORDS = st.text("ab ●", min_size=1, max_size=5)
RUNS = st.one_of(
    WORDS,
    st.tuples(LOOKS, WORDS).map(lambda run: f"\x1b[{run[0]}m{run[1]}\x1b[0m" if run[0] else run[1]),
    st.tuples(LOOKS, WORDS).map(lambda run: f"\x1b[{run[0]}m{run[1]}" if run[0] else run[1]),
    st.tuples(st.integers(1, HEIGHT), st.integers(1, 30)).map(lambda p: f"\x1b[{p[0]};{p[1]}H"),
    st.just("\x1b[0m"),
)


def drawn(data: list[str]) -> object:
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    for piece in data:
        stream.feed(piece)
    return [[screen.buffer[y][x] for x in range(WIDTH)] for y in range(HEIGHT)]


@given(st.lists(st.lists(RUNS, max_size=8).map("".join), max_size=4))
def test_the_picture_is_the_same(writes: list[str]) -> None:
    assert drawn([lean(write) for write in writes]) == drawn(writes)


def test_only_the_foreground_is_named_again() -> None:
    back = "48;2;14;19;24"
    data = f"\x1b[0m\x1b[1;1H\x1b[38;2;1;1;1;{back}ma\x1b[0m\x1b[38;2;2;2;2;{back}mb\x1b[0m"
    assert lean(data) == f"\x1b[1;1H\x1b[0m\x1b[38;2;1;1;1;{back}ma\x1b[38;2;2;2;2mb\x1b[0m"
