"""The bundled model through both real backends: proved, asked, asked by the ``openai`` client,
killed, healed, unloaded.

One test per backend walks the whole way, because loading and proving is most of the cost.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from engine import (
    Backend,
    ChatDelta,
    ChatEnd,
    ChatOptions,
    ChatTurn,
    Code,
    EngineError,
    Readiness,
    StepResult,
)
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness
from tests.end_to_end.test_lifecycle import rows_of
from tests.engine.http.conftest import OpenApi, open_api  # noqa: F401 - fixtures
from tests.engine.http.openai.conftest import Connect, connect  # noqa: F401

GGUF, MLX = "SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct-MLX"
CAPITAL = (ChatTurn("user", "Name the capital city of France."),)
GREEDY = ChatOptions(temperature=0.0, max_tokens=9)
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
    "additionalProperties": False,
}


def cut_short(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:60_000_000])


@pytest.mark.real
@pytest.mark.parametrize(("model", "backend"), [(GGUF, Backend.GGUF), (MLX, Backend.MLX)])
async def test_the_starter_proves_itself_answers_dies_and_comes_back(
    model: str,
    backend: Backend,
    open_api: OpenApi,  # noqa: F811
    connect: Connect,  # noqa: F811
    home: Path,
) -> None:
    api = await open_api(starter=True)
    engine = api.engine
    before = engine.snapshot().model(model)
    assert before is not None
    assert before.backend is backend
    stages: set[str] = set()
    await engine.load(model, actor=ACTOR)
    proved = await until(
        engine,
        lambda s: (
            stages.add(s.model(model).stage) is not None  # type: ignore[union-attr, func-returns-value]
            or s.model(model).readiness is Readiness.ROUTABLE  # type: ignore[union-attr]
        ),
        patience_s=120,
    )
    view = proved.model(model)
    assert view is not None
    assert view.canary is not None
    assert all(s.result in (StepResult.PASS, StepResult.WARN) for s in view.canary.steps)
    assert ("building" in stages) is (backend is Backend.MLX)

    text, end = "", None
    async for item in await engine.chat(model, CAPITAL, GREEDY, client="test"):
        if isinstance(item, ChatDelta):
            text += item.text
        else:
            end = item
    assert "Paris" in text
    assert end is not None
    assert end.ttft_ms

    again = ""
    async for item in await engine.chat(model, CAPITAL, GREEDY, client="test"):
        again += item.text if isinstance(item, ChatDelta) else ""
    assert again == text

    await answers_the_openai_client(connect(api), model)

    ends: list[ChatEnd] = []
    async for item in await engine.chat(model, CAPITAL, GREEDY, client="test"):
        if isinstance(item, ChatEnd):
            ends.append(item)
        elif (running := engine.snapshot().model(model)) and running.pid:
            os.kill(running.pid, signal.SIGSEGV)
    assert len(ends) == 1
    assert ends[0].decision is not None
    assert ends[0].decision.code is Code.MODEL_UNSTABLE
    await until(engine, lambda s: s.model(model).strikes == 1)  # type: ignore[union-attr]
    healed = await until_readiness(engine, model, Readiness.ROUTABLE)
    assert healed.pid is not None
    worker = psutil.Process(healed.pid)
    await engine.unload(model, actor=ACTOR)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    events = [row["metadata"]["event"] for row in rows_of(home)]  # type: ignore[index]
    assert events == ["canary", "strike", "canary"]


async def answers_the_openai_client(client: Any, model: str) -> None:
    question = [{"role": "user", "content": CAPITAL[0].content}]
    greedy = {"model": model, "messages": question, "temperature": 0, "max_tokens": 9}

    answer = await client.chat.completions.create(**greedy, logprobs=True, top_logprobs=2)
    (choice,) = answer.choices
    assert "Paris" in choice.message.content
    told = choice.logprobs.content
    assert len(told) == answer.usage.completion_tokens
    for token in told:
        likeliest = token.top_logprobs[0]
        assert token.token == likeliest.token
        assert token.logprob == pytest.approx(likeliest.logprob, abs=1e-3)
        assert bytes(token.bytes).decode("utf-8", "replace") == token.token
    assert "Paris" in "".join(token.token for token in told)

    text = ""
    async for chunk in await client.chat.completions.create(**greedy, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text == choice.message.content

    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    held = await client.chat.completions.create(
        **greedy | {"max_tokens": 60}, response_format=wanted
    )
    found = json.loads(held.choices[0].message.content)
    assert set(found) == {"city", "big"}
    assert held.choices[0].finish_reason == "stop"

    response = await client.responses.create(
        model=model, input=CAPITAL[0].content, temperature=0, max_output_tokens=9
    )
    assert "Paris" in response.output_text

    plain = await client.completions.create(
        model=model, prompt="The capital of France is", temperature=0, max_tokens=3
    )
    assert plain.choices[0].text

    with pytest.raises(openai.BadRequestError) as long:
        await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "word " * 9000}]
        )
    assert long.value.code == "context_length_exceeded"


async def test_a_starter_cut_short_is_refused_at_the_gate(
    open_engine: Opener, tmp_path: Path
) -> None:
    engine = await open_engine(starter=True)
    whole = engine.snapshot().model(GGUF)
    assert whole is not None
    cut_short(Path(whole.path), tmp_path / "models" / "cut.gguf")
    await engine.rescan()
    with pytest.raises(EngineError) as refused:
        await engine.load("cut", actor=ACTOR)
    decision = refused.value.decision
    assert decision.code is Code.MODEL_INCOMPLETE
    assert decision.check == "complete"
    assert decision.expected
    assert decision.found
    assert decision.remedy
    shown = engine.snapshot().model("cut")
    assert shown is not None
    assert shown.refusal == decision
    assert shown.readiness is Readiness.UNLOADED
