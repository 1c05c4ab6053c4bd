"""The bundled model through both real backends: proved, asked, killed, healed, unloaded.

One test per backend walks the whole way, because loading and proving is most of the cost.
"""

import os
import signal
from pathlib import Path

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

GGUF, MLX = "SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct-MLX"
CAPITAL = (ChatTurn("user", "Name the capital city of France."),)
GREEDY = ChatOptions(temperature=0.0, max_tokens=9)


def cut_short(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:60_000_000])


@pytest.mark.real
@pytest.mark.parametrize(("model", "backend"), [(GGUF, Backend.GGUF), (MLX, Backend.MLX)])
async def test_the_starter_proves_itself_answers_dies_and_comes_back(
    model: str, backend: Backend, open_engine: Opener, home: Path
) -> None:
    engine = await open_engine(starter=True)
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
