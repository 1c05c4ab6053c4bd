"""What is kept of sequences that have ended, and in which order it goes, without a model."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.backends.mlx_prefix import Past, Prefixes
from engine.backends.prefix import WORTHWHILE, longest

CONTEXT, SLOTS, EACH = 60, 2, 10
ROOM = CONTEXT * SLOTS * EACH
WORDS = st.builds(
    lambda word, times: (word * times)[:CONTEXT],
    st.lists(st.integers(0, 1), min_size=1, max_size=4),
    st.integers(2, 40),
)
"""Few different beginnings, so that many share some."""


@dataclass(eq=False)
class FakeCache:
    """What a model would have computed of these tokens, which somebody may write on in."""

    tokens: list[int]
    divisible: bool
    settled: bool = False


class FakeCaches:
    """Caches of one layer, ten bytes a token."""

    def size(self, cache: list[Any]) -> int:
        return sum(len(layer.tokens) for layer in cache) * EACH

    def largest(self, cache: list[Any], context: int) -> int:
        return context * EACH * len(cache)

    def holds(self, cache: list[Any], tokens: int) -> bool:
        return all(len(layer.tokens) == tokens for layer in cache)

    def divisible(self, cache: list[Any]) -> bool:
        return all(layer.divisible for layer in cache)

    def copy(self, cache: list[Any], surplus: int) -> list[Any]:
        assert not surplus or self.divisible(cache)
        return [
            FakeCache(layer.tokens[: len(layer.tokens) - surplus], layer.divisible)
            for layer in cache
        ]

    def settle(self, caches: list[list[Any]]) -> None:
        for layer in (layer for cache in caches for layer in cache):
            assert not layer.settled  # each is waited for once
            layer.settled = True


def alike(one: Iterable[int], other: Iterable[int]) -> int:
    """How many both begin with, counted one by one."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


class Kept(RuleBasedStateMachine):
    """Sequences end, are taken from and give way, and nobody ever gets another's text."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes = Prefixes(FakeCaches(), context=CONTEXT, slots=SLOTS)

    @rule(tokens=WORDS, divisible=st.booleans())
    def end(self, tokens: list[int], divisible: bool) -> None:
        before = list(self.prefixes.kept)
        self.prefixes.keep([FakeCache(list(tokens), divisible)], tokens)
        after = list(self.prefixes.kept)
        if len(tokens) < WORTHWHILE:
            assert after == before
            return
        newest = after[-1]
        assert newest.tokens[: len(tokens)] == tokens
        # Whoever is gone is a beginning of the newest, which serves instead.
        for gone in (past for past in before if past not in after):
            assert newest.tokens[: len(gone.tokens)] == gone.tokens
            assert newest.divisible or newest.tokens == gone.tokens

    @rule(prompt=WORDS, more=WORDS)
    def ask(self, prompt: list[int], more: list[int]) -> None:
        past, tokens = longest(prompt, self.prefixes.kept)
        best = max(
            (
                min(alike(one.tokens, prompt), len(prompt) - 1)
                for one in self.prefixes.kept
                if one.divisible or one.tokens == prompt[:-1][: len(one.tokens)]
            ),
            default=0,
        )
        assert tokens == (best if best >= WORTHWHILE else 0)
        assert (past is not None) == (tokens > 0)
        if past is not None:
            [layer] = self.prefixes.take(past, tokens)
            assert layer.tokens == prompt[:tokens]
            layer.tokens += more  # as the request goes on; what is kept must not change with it
            assert list(self.prefixes.kept)[-1] is past

    @rule()
    def settle(self) -> None:
        fresh = any(not past.cache[0].settled for past in self.prefixes.kept)
        assert self.prefixes.settle() == fresh
        assert all(past.cache[0].settled for past in self.prefixes.kept)

    @rule(running=st.integers(0, ROOM + 100))
    def grow(self, running: int) -> None:
        before = list(self.prefixes.kept)
        self.prefixes.make_room(running)
        after = list(self.prefixes.kept)
        assert after == before[len(before) - len(after) :]  # the least recently used go first
        assert self.prefixes.used + running <= ROOM or not after
        if len(after) < len(before):  # and not one more than must
            assert self.prefixes.used + before[-len(after) - 1].size + running > ROOM

    @rule()
    def drop(self) -> None:
        self.prefixes.drop()
        assert not len(self.prefixes.kept)

    @invariant()
    def the_books_balance(self) -> None:
        kept = list(self.prefixes.kept)
        assert self.prefixes.used == sum(past.size for past in kept)
        for past in kept:
            assert past.cache[0].tokens == past.tokens
            assert past.size == len(past.tokens) * EACH

    @invariant()
    def each_thing_is_said_once(self) -> None:
        kept = [past for past in self.prefixes.kept if past.divisible]
        for one in kept:
            for other in kept:
                assert one is other or other.tokens != one.tokens[: len(other.tokens)]


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_only_so_many_are_kept_however_small() -> None:
    prefixes = Prefixes(FakeCaches(), context=10_000, slots=1)
    for number in range(100):
        tokens = [number] * WORTHWHILE
        prefixes.keep([FakeCache(tokens, divisible=True)], tokens)
    prefixes.make_room(0)
    assert len(prefixes.kept) == 64
    past, _ = longest([0] * 9, prefixes.kept)
    assert past is None
    past, common = longest([99] * 9, prefixes.kept)
    assert isinstance(past, Past)
    assert common == WORTHWHILE
