"""The starter under MLX, split among three processes of this machine.

MLX's ring costs a CPU more than the model does, so the whole starter only says a few words here;
what happens to a split model in its life is shown on a cut of its first two layers.
"""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from engine import ChatOptions, Code, EngineError, LoadOptions, Readiness, StepResult
from engine.settings import Deadlines
from engine.types import Backend
from engine.workers.gang import GangPlacement
from engine.workers.placement import Spawn
from engine.workers.process import LocalPlacement
from engine.workers.protocol import Delta, Generate, Load, Progress, Sampling, Started
from engine.workers.supervisor import Supervisor
from tests.end_to_end import damage
from tests.end_to_end.conftest import ACTOR, Opener, until_readiness
from tests.end_to_end.ranks import TURNS, end_of, ends_of, ranks

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("split")]
CUT = "cut"
SILENCE_S = 5.0


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.build_mlx(tmp_path_factory.mktemp("starter") / "whole")


async def test_the_whole_starter_says_the_same_in_three_parts_until_one_is_killed(
    starter: Path,
) -> None:
    placement = GangPlacement(LocalPlacement())
    spawn = Spawn(Backend.MLX, Path(sys.executable), "default", 3)
    worker = await Supervisor.start(placement, spawn, Deadlines())
    try:
        frame = Load(model_id="m", path=str(starter), context=64, slots=1)
        await worker.load(frame, lambda _: None, 120.0)
        prompt = Generate(
            id="a",
            prompt="The capital of France is",
            sampling=Sampling(temperature=0, max_tokens=40),
        )
        answers, text = worker.generate(prompt), ""
        while "." not in text:
            answer = await answers.get()
            assert isinstance(answer, Started | Progress | Delta), answer
            text += answer.text if isinstance(answer, Delta) else ""
        # The ranks' sums are added in another order, so the logits differ in their last digits;
        # unsplit it says these words too (test_mlx), which are likelier than others by far more.
        assert text == " Paris."
        os.kill(ranks()[1].pid, signal.SIGKILL)
        end = await asyncio.shield(worker.ended)
        assert end.cause == "SIGKILL in rank 1 of 3"
    finally:
        await worker.stop(0)
    assert not ranks()


async def test_a_split_model_proves_itself_and_hangs_as_one(
    starter: Path, open_engine: Opener, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / CUT
    parts = damage.copy_mlx(starter, folder, layers=2)
    damage.write_safetensors(folder / "model.safetensors", parts)
    other = tmp_path / "models" / "other"
    shutil.copytree(folder, other)
    damage.edit_json(other / "config.json", model_type="gemma3_text", architectures=None)
    engine = await open_engine(
        model={CUT: {"ranks": 3, "context": 256}},
        # Two layers of thirty know no English.
        canary={"perplexity_max": 1e12, "decode_tokens": 4},
        deadlines={"silence_s": SILENCE_S},
        quarantining={"strikes": 1},  # how a gang comes back is shown with simulated ones
    )

    for model, count, found in (
        (CUT, 2, "3 key-value heads, 2 ranks"),
        ("other", 3, "gemma3_text, 3 ranks"),
    ):
        with pytest.raises(EngineError) as refused:
            await engine.load(model, LoadOptions(ranks=count), actor=ACTOR)
        decision = refused.value.decision
        assert (decision.code, decision.check) == (Code.MODEL_UNSUPPORTED_BACKEND, "split")
        assert decision.found == found

    await engine.load(CUT, actor=ACTOR, wait=True)
    proved = engine.snapshot().model(CUT)
    assert proved is not None
    assert proved.canary is not None
    assert all(s.result in (StepResult.PASS, StepResult.WARN) for s in proved.canary.steps)
    first = ranks()
    assert sorted(first) == [0, 1, 2]
    # Without a seed every rank would draw other tokens; were one's not rank 0's, they would part.
    drawn = ChatOptions(temperature=1.5, max_tokens=6)
    both = [await engine.chat(CUT, TURNS, drawn, client=name) for name in ("a", "b")]
    ends = await asyncio.gather(*(end_of(stream) for stream in both))
    assert {end.reason for end in ends} <= {"length", "stop"}
    [end] = await ends_of(engine, CUT, lambda: os.kill(first[2].pid, signal.SIGSTOP))
    assert end.decision is not None
    assert end.decision.code is Code.MODEL_UNSTABLE
    struck = await until_readiness(engine, CUT, Readiness.QUARANTINED)
    assert struck.evidence is not None
    assert struck.evidence.cause == f"hang: silent for {SILENCE_S:g} s"
    assert not any(process.is_running() for process in first.values())
