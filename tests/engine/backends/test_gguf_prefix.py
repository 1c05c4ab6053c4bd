"""What a GGUF model's cache keeps of finished requests, on the starter model: an answer from cached
cells is the answer from computed ones.

The same prompt gives logits that differ by up to half a unit with the order of its cells and the
shape of its batches: llama.cpp sums attention in 16-bit floats (a KL divergence of 0.004 to 0.009,
measured). Where two tokens are nearly as likely, greedy decoding falls either way, with a cache or
without. So these prompts are number series, whose next token is clear, and every reference answer
is checked to have been so: by ``CLEAR`` nats at each token. A cell of another text in the cache
breaks a series at once.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engine.backends.base import StepEvent
from engine.workers.protocol import Delta, Failed, Finished, Generate, Message, Sampling
from tests.engine.backends.test_gguf import load

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("gguf")]

CLEAR = 1.0


def series(*numbers: int) -> str:
    return ", ".join(map(str, numbers)) + ","


HEAD = series(*range(1, 12))
TENS = HEAD + " " + series(*range(20, 120, 10))
ODD = HEAD + " " + series(*range(21, 41, 2))
ONES = series(*range(1, 26))


def continued(request_id: str, prompt: str, tokens: int = 4) -> Generate:
    sampling = Sampling(temperature=0, max_tokens=tokens)
    return Generate(id=request_id, prompt=prompt, sampling=sampling, logprobs=2, ignore_eos=True)


class Asked:
    """One backend and what its requests said."""

    def __init__(self, **values: Any) -> None:
        self.backend = load(**values)
        self.cells = self.backend._schedule._cells
        self.refused = 0
        decode = self.backend._model.decode

        def counted(rows: Any) -> bool:
            found: bool = decode(rows)
            self.refused += not found
            return found

        self.backend._model.decode = counted
        self.put_back = 0
        schedule = self.backend._schedule
        put_back = schedule.put_back

        def noticed() -> None:
            self.put_back += 1
            put_back()

        schedule.put_back = noticed
        self.texts: dict[str, str] = {}
        self.margins: dict[str, float] = {}
        self.ends: dict[str, Finished] = {}

    def submit(self, *requests: Generate) -> None:
        for request in requests:
            self.texts[request.id], self.margins[request.id] = "", 99.0
            self.backend.submit(request)

    def step(self) -> list[StepEvent]:
        events: list[StepEvent] = self.backend.step()
        assert self.cells.used <= self.cells.pool
        for event in events:
            assert not isinstance(event, Failed), event
            if isinstance(event, Delta):
                self.texts[event.id] += event.text
                for chance in event.chances:
                    margin = chance.top[0].logprob - chance.top[1].logprob
                    self.margins[event.id] = min(self.margins[event.id], margin)
            elif isinstance(event, Finished):
                self.ends[event.id] = event
        return events

    def run(self, *requests: Generate) -> list[str]:
        self.submit(*requests)
        while self.backend.active:
            self.step()
        return [self.texts[request.id] for request in requests]

    def forget(self) -> None:
        while self.cells.kept:
            self.cells.give_up()
        assert self.cells.used == 0

    def uncached(self, *requests: Generate) -> list[str]:
        """What each says alone, on an empty cache; every token of it was clear."""
        said = []
        for request in requests:
            self.forget()
            said += self.run(request)
            assert self.margins[request.id] > CLEAR
        self.forget()
        return said

    def cached(self, request_id: str) -> int:
        return self.ends[request_id].cached_tokens

    def prompt(self, request_id: str) -> int:
        return self.ends[request_id].prompt_tokens


@pytest.fixture(scope="module")
def made() -> Iterator[Asked]:
    made = Asked(context=1024)
    yield made
    assert made.refused == 0
    made.backend.close()


@pytest.fixture
def asked(made: Asked) -> Iterator[Asked]:
    made.forget()
    yield made
    assert made.backend.active == 0


def test_the_same_prompt_again_computes_its_last_token_only(asked: Asked) -> None:
    once = continued("once", TENS)
    said = asked.uncached(once)
    assert asked.run(once) == said
    assert asked.cached("once") == 0
    assert asked.run(continued("again", TENS)) == said
    assert asked.cached("again") == asked.prompt("again") - 1
    assert len(asked.cells.kept) == 1  # the first has nothing the second has not


def test_a_prompt_that_goes_on_where_an_answer_ended_reads_on(asked: Asked) -> None:
    longer = continued("longer", ONES + " " + series(26, 27, 28))
    said = asked.uncached(longer)
    asked.run(continued("first", ONES, tokens=12))
    assert asked.run(longer) == said
    answered = asked.ends["first"].completion_tokens
    # All of the first and of its answer, but for the last token, which was never computed.
    assert asked.cached("longer") in range(
        asked.prompt("first") + 6, asked.prompt("first") + answered
    )


def test_a_prompt_that_parts_in_the_middle_reads_from_there(asked: Asked) -> None:
    other, back = continued("other", ODD), continued("back", TENS)
    said = asked.uncached(other, back)
    asked.run(continued("first", TENS))
    assert asked.run(other) == said[:1]
    assert 20 < asked.cached("other") < asked.prompt("other") - 20
    assert asked.run(back) == said[1:]  # and what it parted from was left as it was
    assert asked.cached("back") == asked.prompt("back") - 1


def test_a_chats_next_turn_reads_on(asked: Asked) -> None:
    count = Message(role="user", content="Say the numbers from 1 to 9.")
    turns = (count, Message(role="assistant", content="1, 2, 3, 4, 5, 6, 7, 8, 9"), count)
    second = continued("second", "").model_copy(update={"prompt": None, "messages": turns})
    said = asked.uncached(second)
    asked.run(second.model_copy(update={"id": "first", "messages": turns[:1]}))
    assert asked.run(second) == said
    assert asked.cached("second") >= asked.prompt("first") - 1


def test_requests_at_once_read_what_they_share_once(asked: Asked) -> None:
    requests = [continued(f"r{n}", f"{TENS}\n{series(n, n + 1, n + 2, n + 3)}") for n in (3, 5, 7)]
    said = asked.uncached(*requests)
    assert asked.run(*requests) == said
    assert asked.cached("r3") == 0
    # They wait for the first to read it, the last 32 tokens perhaps not.
    common = asked.prompt("r3") - 12
    assert all(asked.cached(name) >= common - 32 for name in ("r5", "r7"))


def test_a_request_takes_from_one_that_still_runs(asked: Asked) -> None:
    longer = continued("longer", ONES, tokens=20)
    joining = continued("joining", ONES)
    said = asked.uncached(longer, joining)
    asked.submit(longer)
    while not asked.texts["longer"]:
        asked.step()
    alone = asked.cells.used
    asked.submit(joining)
    asked.step()
    assert asked.cells.used <= alone + 4  # the same cells, counted once
    while asked.backend.active:
        asked.step()
    assert [asked.texts["longer"], asked.texts["joining"]] == said
    assert asked.cached("joining") == asked.prompt("joining") - 1


def test_a_cancelled_and_a_failed_request_leave_a_good_cache(asked: Asked) -> None:
    said = asked.uncached(continued("r", TENS))
    for name in ("decoding", "reading"):
        asked.forget()
        asked.backend._pace._rate = 1.0  # so that it reads in small pieces
        asked.submit(continued(name, TENS, tokens=60))
        asked.step()
        asked.step()
        while name == "decoding" and not asked.texts[name]:
            asked.step()
        asked.backend.cancel(name)
        asked.step()
        assert asked.ends[name].reason == "cancelled"
        assert asked.run(continued("r", TENS)) == said
        assert asked.cached("r") >= 8
    asked.forget()
    asked.submit(continued("fails", TENS))
    asked.backend._schedule.waiting[0].constraint = SimpleNamespace(
        trouble="made up", allowed=lambda _: None, take=lambda _: None
    )
    failed = []
    while asked.backend.active:
        failed += [event for event in asked.backend.step() if isinstance(event, Failed)]
    assert [event.message for event in failed] == ["made up"]
    assert asked.run(continued("r", TENS)) == said
    assert asked.cached("r") == asked.prompt("r") - 1


def test_what_is_kept_gives_way_and_the_oldest_first() -> None:
    asked = Asked(context=200, slots=2)
    try:
        prompts = {"tens": TENS, "odd": ODD, "ones": ONES}
        requests = [continued(name, prompt) for name, prompt in prompts.items()]
        said = dict(zip(prompts, asked.uncached(*requests), strict=True))
        for request in requests:
            assert asked.run(request) == [said[request.id]]
            assert asked.run(request) == [said[request.id]]
            assert asked.cached(request.id) == asked.prompt(request.id) - 1
        # Half of the pool may be kept: the first are gone but for what they shared with the last.
        assert asked.cells.used <= 100
        assert asked.run(requests[0]) == [said["tens"]]
        assert asked.cached("tens") < 40
        # Two together with long answers leave no room for what is kept.
        assert asked.run(requests[2]) == [said["ones"]]
        asked.run(*(continued(name, prompts[name], 60) for name in ("tens", "odd")))
        asked.run(requests[2])
        assert asked.cached("ones") < 40
        assert asked.refused == 0
    finally:
        asked.backend.close()


def test_a_request_put_back_is_read_in_again_and_says_the_same() -> None:
    asked = Asked(context=140, slots=4)
    try:
        requests = [continued("a", series(*range(20, 29)), 40)]
        requests += [continued("b", series(*range(30, 39)), 40)]
        said = asked.uncached(*requests)
        assert asked.run(*requests) == said
        assert asked.put_back > 0
        assert {asked.ends[r.id].completion_tokens for r in requests} == {40}
        assert asked.refused == 0
    finally:
        asked.backend.close()


@pytest.mark.parametrize(
    "says", ["llama_model_is_recurrent", "llama_model_is_hybrid", "llama_model_n_swa"]
)
def test_nothing_is_kept_where_a_beginning_cannot_be_shared(
    says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp.llama_cpp as native

    monkeypatch.setattr(native, says, lambda _: 1)
    asked = Asked(context=64)
    try:
        asked.run(continued("a", HEAD, 1), continued("b", HEAD, 1))
        asked.run(continued("c", HEAD, 1))
        assert [asked.cached(name) for name in "abc"] == [0, 0, 0]
        assert asked.cells.used == 0
    finally:
        asked.backend.close()


def test_nothing_is_kept_where_the_memory_says_it_cannot_be_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import llama_cpp.llama_cpp as native

    monkeypatch.setattr(native, "llama_memory_can_shift", lambda _: False)
    asked = Asked(context=64)
    try:
        asked.run(continued("a", HEAD, 1))
        asked.run(continued("b", HEAD, 1))
        assert asked.cached("b") == 0
        assert asked.cells.used == 0
    finally:
        asked.backend.close()
