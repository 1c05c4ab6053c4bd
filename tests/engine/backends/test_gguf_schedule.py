"""Who holds which cells of a GGUF model's cache, whatever order requests come and go in."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from engine.backends.prefix import shared

# The schedule makes batches for llama.cpp, which is imported with it.
pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.xdist_group("gguf")

SLOTS, KEEP, POOL = 3, 4, 150
WORDS = st.builds(
    lambda word, times: (word * times)[:70],
    st.lists(st.integers(0, 1), min_size=1, max_size=4),
    st.integers(5, 40),
)
"""Prompts of few different beginnings, so that many share some."""


def test_what_two_begin_with_is_found_at_every_length() -> None:
    one = list(range(40))
    for common in range(41):
        other = one[:common] + [-1] * 5
        assert shared(one, other) == common
        assert shared(one, other, 7) == min(common, 7)
    assert shared([], one) == 0


class FakeMemory:
    """llama.cpp's unified cache, cell by cell: each has a token, a position and its sequences."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, int, set[int]]] = []

    def copy(self, source: int, target: int, tokens: int) -> None:
        assert not self.held(target)
        for _, position, members in self.cells:
            if source in members and position < tokens:
                members.add(target)

    def forget(self, sequence: int) -> None:
        for _, _, members in self.cells:
            members.discard(sequence)
        self.cells = [cell for cell in self.cells if cell[2]]

    def decode(self, rows: list[Any]) -> None:
        for row in rows:
            assert len(self.held(row.sequence)) == row.position  # as llama.cpp demands
            self.cells.append((row.token, row.position, {row.sequence}))
        assert len(self.cells) <= POOL

    def held(self, sequence: int) -> list[int]:
        mine = [cell for cell in self.cells if sequence in cell[2]]
        return [token for token, *_ in sorted(mine, key=lambda cell: cell[1])]


class NoSampler:
    def close(self) -> None:
        pass


class Requests(RuleBasedStateMachine):
    """Requests are made, read, answered, cancelled and ended, and the books always balance."""

    def __init__(self) -> None:
        super().__init__()
        from engine.backends.gguf_cells import Cells
        from engine.backends.gguf_schedule import Schedule

        self.memory = FakeMemory()
        self.cells = Cells(self.memory, pool=POOL, running=SLOTS, keep=KEEP)
        self.schedule = Schedule(self.cells)
        self.made = 0

    @rule(prompt=WORDS)
    def ask(self, prompt: list[int]) -> None:
        from engine.backends.answer import Answer
        from engine.backends.gguf_schedule import Run
        from engine.workers.protocol import Generate

        self.made += 1
        request = Generate(id=f"r{self.made}", prompt="x")
        sampler: Any = NoSampler()
        run = Run(request, list(prompt), sampler, Answer(request, len(prompt)))
        self.schedule.waiting.append(run)

    @precondition(lambda self: len(self.schedule) > 0)
    @rule(budget=st.integers(1, 90), times=st.integers(1, 30), word=st.integers(0, 1))
    def step(self, budget: int, times: int, word: int) -> None:
        for _ in range(times):
            if not len(self.schedule):
                return
            before = {one.number for one in self.cells.kept}
            self.schedule.arrange()
            assert {one.number for one in self.cells.kept} <= before
            rows = self.schedule.fill(budget)
            assert rows  # somebody always gets on
            self.memory.decode(rows)
            for run in list(self.schedule.running):
                self.schedule.computed(run)
                if run.output >= 0:
                    run.tokens.append(word)
                    run.answer.generated += 1
                    if len(run.tokens) >= POOL:
                        self.schedule.drop(run)

    @precondition(lambda self: len(self.schedule) > 0)
    @rule(which=st.integers(0, 99), keep=st.booleans())
    def end(self, which: int, keep: bool) -> None:
        runs = list(self.schedule)
        self.schedule.drop(runs[which % len(runs)], keep=keep)

    @rule(wanted=st.integers(1, POOL))
    def give_way(self, wanted: int) -> None:
        before = list(self.cells.kept)
        enough = self.cells.make_room(wanted)
        gone = len(before) - len(self.cells.kept)
        assert list(self.cells.kept) == before[gone:]
        assert enough == (self.cells.used + wanted <= POOL)
        assert enough or not self.cells.kept

    @invariant()
    def the_books_balance(self) -> None:
        assert self.cells.used == len(self.memory.cells) <= POOL
        assert self.cells.needed(None, 0) == sum(
            bool(members & {one.number for one in self.cells.live})
            for *_, members in self.memory.cells
        )

    @invariant()
    def nobody_reads_anothers_text(self) -> None:
        everyone = (*self.cells.live, *self.cells.kept)
        assert len({one.number for one in everyone}) == len(everyone) <= SLOTS + KEEP
        for one in everyone:
            assert self.memory.held(one.number) == one.tokens[: one.filled]
        assert {id(run.sequence) for run in self.schedule.running} == {
            id(one) for one in self.cells.live
        }
        assert all(run.sequence is None for run in self.schedule.waiting)

    @invariant()
    def what_is_kept_is_bounded_and_says_each_thing_once(self) -> None:
        kept = list(self.cells.kept)
        assert len(kept) <= KEEP
        for one in kept:
            for other in kept:
                assert one is other or other.tokens != one.tokens[: other.filled]


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
