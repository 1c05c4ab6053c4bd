"""The canary over a scripted worker: what each step passes, warns of, fails and hands on."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from engine.canary import PASSAGE, QUESTION, ROUND_TRIP, STEPS, Canary, Subject, Verdict
from engine.settings import CanaryBounds
from engine.types import Backend, CanaryStep, StepResult
from engine.workers.exits import WorkerExit
from engine.workers.protocol import Delta, Failed, Finished, Generate, Hello, Loaded, Probe, Probed
from engine.workers.supervisor import Answer, WorkerDied

VERSION = "llama-cpp-python 0.3.36"
DEATH = WorkerExit(at=0.0, status=-11, stderr_tail="")
NEVER = "never"
"""In a script: this question is not answered."""
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202eevil\r\n"
PROBES: dict[str, dict[str, Any]] = {
    "tokenizer": {"values": {"tokens": 21.0}},
    "template": {"values": {"tokens": 37.0, "ends": 1.0}, "text": f"user: {QUESTION}"},
    "logits": {"values": {"spread": 29.2, "hollow": 0.0}},
    "perplexity": {"values": {"perplexity": 12.7}},
}
DECODE = ("The", " capital", " is", " Paris", ".")


class Script:
    """A worker that answers as told; everything not told goes well."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.frames: list[Generate] = []
        self.probes: list[Probe] = []
        self.deadlines: dict[str, float] = {}
        self.cancelled: list[str] = []
        self._cancelling: asyncio.Queue[Answer] | None = None

    async def probe(self, frame: Probe, deadline_s: float) -> Probed:
        self.asked.append(frame.name)
        self.probes.append(frame)
        self.deadlines[frame.name] = deadline_s
        told = self._answers.get(frame.name, {})
        if told == NEVER:
            raise TimeoutError
        if told is DEATH:
            raise WorkerDied(DEATH)
        fields = {"ok": True, **PROBES[frame.name], **told}
        return Probed(id=frame.id, name=frame.name, **fields)

    def generate(self, frame: Generate) -> "asyncio.Queue[Answer]":
        name = frame.id.split("-", 2)[2]
        self.asked.append(name)
        self.frames.append(frame)
        queue: asyncio.Queue[Answer] = asyncio.Queue()
        told = self._answers.get(name, DECODE)
        if told == NEVER:
            return queue
        if isinstance(told, WorkerExit):
            queue.put_nowait(told)
        elif isinstance(told, Failed):
            queue.put_nowait(told.model_copy(update={"id": frame.id}))
        elif name == "cancel":
            queue.put_nowait(Delta(id=frame.id, text="On"))
            self._cancelling = queue
        else:
            pieces = told[: frame.sampling.max_tokens]
            for piece in pieces:
                queue.put_nowait(Delta(id=frame.id, text=piece))
            queue.put_nowait(self._finished(frame, "stop", len(pieces)))
        return queue

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        told = self._answers.get("cancelled", ("cancelled", 3))
        if told == NEVER or self._cancelling is None:
            return
        if isinstance(told, WorkerExit):
            self._cancelling.put_nowait(told)
            return
        self._cancelling.put_nowait(self._finished(self.frames[-1], *told))

    @staticmethod
    def _finished(frame: Generate, reason: Any, count: int) -> Finished:
        return Finished(id=frame.id, reason=reason, prompt_tokens=9, completion_tokens=count)


def subject(**changes: Any) -> Subject:
    usual = Subject(
        hello=Hello(protocol=1, pid=7, backend=Backend.GGUF, backend_version=VERSION, device="cpu"),
        loaded=Loaded(context=512, vocabulary=49_152, chat=True),
        backend_version=VERSION,
        estimate_bytes=1000,
        measured_bytes=lambda: 1100,
        deadline_s=5.0,
        template_s=1.0,
    )
    return replace(usual, **changes)


async def prove(
    script: Script, about: Subject | None = None, bounds: CanaryBounds | None = None
) -> tuple[Verdict, list[tuple[CanaryStep, ...]]]:
    shown: list[tuple[CanaryStep, ...]] = []
    canary = Canary(script, about or subject(), bounds or CanaryBounds(), "run", shown.append)
    return await canary.run(), shown


def result(verdict: Verdict, name: str) -> tuple[StepResult, str]:
    step = next(step for step in verdict.steps if step.name == name)
    return step.result, step.detail


async def test_a_healthy_model_passes_every_step_in_order() -> None:
    script = Script()
    verdict, shown = await prove(script)
    assert verdict.passed
    assert verdict.reason == "canary 9/9"
    assert [step.name for step in verdict.steps] == list(STEPS)
    assert {step.result for step in verdict.steps} == {StepResult.PASS}
    assert all(step.ms is not None and step.ms >= 0 for step in verdict.steps)
    assert verdict.ttft_ms is not None
    probes = ["tokenizer", "template", "logits", "perplexity"]
    assert script.asked == [*probes, "decode", "cancel", "after-cancel"]
    running = [s.name for steps in shown for s in steps if s.result is StepResult.RUNNING]
    assert running == list(STEPS)
    assert {step.name for step in verdict.steps if not step.required} == {"memory"}


async def test_what_is_asked_is_fixed_greedy_and_bounded() -> None:
    script = Script()
    await prove(script)
    texts = {frame.name: frame.text for frame in script.probes}
    assert texts == {
        "tokenizer": ROUND_TRIP,
        "template": "",
        "logits": PASSAGE,
        "perplexity": PASSAGE,
    }
    assert all(frame.sampling.temperature == 0 for frame in script.frames)
    assert {f.id.split("-", 2)[2]: f.sampling.max_tokens for f in script.frames} == {
        "decode": 16,
        "cancel": 256,
        "after-cancel": 1,
    }
    assert script.deadlines == {
        "tokenizer": 5.0,
        "template": 1.0,
        "logits": 5.0,
        "perplexity": 5.0,
    }
    assert script.cancelled == ["canary-run-cancel"]


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "tokenizer": ({"tokenizer": {"ok": False, "detail": "'a' came back as 'b'"}}, "", "came back"),
    "template raises": ({"template": {"ok": False, "detail": "chat template: no"}}, "", "no"),
    "template hangs": ({"template": NEVER}, "template", "not rendered in 1 s"),
    "NaN": ({"logits": {"ok": False, "detail": "49 logits are NaN or infinite"}}, "", "49 logits"),
    "no reason": ({"logits": {"ok": False}}, "", "failed"),
    "perplexity": ({"perplexity": {"values": {"perplexity": 1000.1}}}, "", "under 1,000"),
    "no perplexity": ({"perplexity": {"values": {}}}, "", "found nan"),
    "silent": ({"decode": ()}, "", "said nothing"),
    "blank": ({"decode": ("\n", " ", "\t")}, "", "said nothing"),
    "one word": ({"decode": (" I",) * 8}, "decode", "repeats itself"),
    "one character": ({"decode": ("G",) * 8}, "decode", "repeats itself"),
    "no text": ({"decode": ("\ufffd", "\ufffd", "a")}, "decode", "not valid text"),
    "refused": ({"decode": Failed(kind="internal", message="boom")}, "decode", "boom"),
    "after cancel": (
        {"after-cancel": Failed(kind="internal", message="full")},
        "cancel",
        "full",
    ),
    "cancel refused": ({"cancel": Failed(kind="internal", message="odd")}, "cancel", "odd"),
    "ran on": ({"cancelled": ("length", 256)}, "cancel", "ran on"),
}
STEP_OF = {"NaN": "logits", "no reason": "logits", "no perplexity": "perplexity"}
STEP_OF |= {"template raises": "template", "silent": "decode", "blank": "decode"}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_failed_step_ends_the_run_and_names_its_reason(case: str) -> None:
    answers, named, words = FAILURES[case]
    step = named or STEP_OF.get(case, case)
    verdict, _ = await prove(Script(**answers))
    assert not verdict.passed
    assert result(verdict, step)[0] is StepResult.FAIL
    assert words in result(verdict, step)[1]
    assert verdict.reason.startswith(f"{step}: ")
    after = STEPS[STEPS.index(step) + 1 :]
    assert {result(verdict, name)[0] for name in after} <= {StepResult.PENDING}


async def test_another_backend_version_than_the_gates_fails_the_handshake() -> None:
    verdict, _ = await prove(Script(), subject(backend_version="llama-cpp-python 0.4"))
    assert verdict.reason == f"handshake: expected llama-cpp-python 0.4, found {VERSION}"
    simulated = Loaded(context=1, vocabulary=2, chat=True, backend_version="simulated 2")
    verdict, _ = await prove(Script(), subject(loaded=simulated, backend_version="simulated 2"))
    assert verdict.passed


async def test_one_piece_for_many_tokens_is_no_stream() -> None:
    class Lump(Script):
        def generate(self, frame: Generate) -> "asyncio.Queue[Answer]":
            queue = super().generate(frame)
            if frame.id.endswith("-decode"):
                queue = asyncio.Queue()
                queue.put_nowait(Delta(id=frame.id, text="all at once", tokens=6))
                queue.put_nowait(self._finished(frame, "length", 6))
            return queue

    verdict, _ = await prove(Lump())
    assert verdict.reason == "streaming: 6 tokens arrived in one piece"


async def test_an_answer_too_short_to_show_a_stream_is_asked_for_past_its_end() -> None:
    script = Script(decode=("Paris",))
    verdict, _ = await prove(script)
    assert verdict.passed
    again = next(frame for frame in script.frames if frame.id.endswith("streaming"))
    assert again.ignore_eos
    assert again.sampling.max_tokens == 6


async def test_a_model_without_a_template_is_proved_for_completions_only() -> None:
    script = Script()
    verdict, _ = await prove(script, subject(loaded=Loaded(context=9, vocabulary=9, chat=False)))
    assert verdict.passed
    assert verdict.reason == "canary 8/8"
    skipped = (StepResult.SKIPPED, "no chat template: completions only")
    assert result(verdict, "template") == skipped
    assert "template" not in script.asked
    assert all(frame.prompt and not frame.messages for frame in script.frames)


WARNINGS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "memory": ({}, {"measured_bytes": lambda: 1251}, "125% of the estimate"),
    "logits": ({"logits": {"values": {"hollow": 1.0}, "detail": "only zeros in x"}}, {}, "zeros"),
    "template": ({"template": {"values": {"ends": 0.0}}}, {}, "may never stop"),
}


@pytest.mark.parametrize("step", WARNINGS)
async def test_what_is_odd_warns_and_passes(step: str) -> None:
    answers, about, words = WARNINGS[step]
    verdict, _ = await prove(Script(**answers), subject(**about))
    assert verdict.passed
    assert verdict.reason == "canary 9/9"
    assert result(verdict, step)[0] is StepResult.WARN
    assert words in result(verdict, step)[1]


async def test_a_template_that_drops_the_question_warns() -> None:
    verdict, _ = await prove(Script(template={"text": "Good day."}))
    expected = (StepResult.WARN, "the question is not in the prompt")
    assert result(verdict, "template") == expected
    assert verdict.passed


async def test_an_unknown_end_or_estimate_is_no_reason_to_warn() -> None:
    untold = Script(template={"values": {}}, logits={"values": {}})
    verdict, _ = await prove(untold, subject(estimate_bytes=0))
    assert {step.result for step in verdict.steps} == {StepResult.PASS}


@pytest.mark.parametrize(
    ("last", "expected"),
    [(None, StepResult.PASS), (0.001, StepResult.PASS), (1e12, StepResult.WARN)],
)
async def test_a_model_slower_than_last_time_warns(
    last: float | None, expected: StepResult
) -> None:
    class Paced(Script):
        def generate(self, frame: Generate) -> "asyncio.Queue[Answer]":
            queue = super().generate(frame)
            if not frame.id.endswith("-decode"):
                return queue
            slow: asyncio.Queue[Answer] = asyncio.Queue()

            async def feed() -> None:
                while not queue.empty():
                    slow.put_nowait(queue.get_nowait())
                    await asyncio.sleep(0.001)

            self.feeding = asyncio.create_task(feed())
            return slow

    verdict, _ = await prove(Paced(), subject(last_tokens_per_second=last))
    assert verdict.passed
    assert verdict.tokens_per_second is not None
    assert result(verdict, "decode")[0] is expected


def brief(step: str, told: Any) -> dict[str, Any]:
    """A script in which this generation goes so; after a brief answer every one is asked for."""
    return {"decode": ("Paris",)} | {step: told}


@pytest.mark.parametrize("step", ["tokenizer", "template", "logits", "perplexity"])
async def test_a_worker_that_dies_of_a_probe_is_a_death_not_a_failure(step: str) -> None:
    with pytest.raises(WorkerDied) as died:
        await prove(Script(**{step: DEATH}))
    assert died.value.end is DEATH


@pytest.mark.parametrize("step", ["decode", "streaming", "cancel", "cancelled", "after-cancel"])
async def test_a_worker_that_dies_generating_is_a_death_too(step: str) -> None:
    with pytest.raises(WorkerDied):
        await prove(Script(**brief(step, DEATH)))


@pytest.mark.parametrize("step", ["tokenizer", "logits", "perplexity"])
async def test_any_other_step_never_answered_is_a_hang(step: str) -> None:
    with pytest.raises(TimeoutError):
        await prove(Script(**{step: NEVER}))


@pytest.mark.parametrize("step", ["decode", "streaming", "cancel", "cancelled", "after-cancel"])
async def test_a_generation_never_ended_is_a_hang_after_its_deadline(step: str) -> None:
    with pytest.raises(TimeoutError):
        await prove(Script(**brief(step, NEVER)), subject(deadline_s=0.02))


async def test_hostile_text_is_cleaned_before_anybody_sees_it() -> None:
    for answers in (
        {"tokenizer": {"ok": False, "detail": HOSTILE * 200}},
        {"decode": Failed(kind="internal", message=HOSTILE)},
        {"decode": (HOSTILE,) * 9},
    ):
        verdict, shown = await prove(Script(**answers))
        texts = [step.detail for steps in shown for step in steps] + [verdict.reason]
        assert not verdict.passed
        assert all(not set(text) & set("\x1b\x07\r\n\u202e") for text in texts)
        assert max(map(len, texts)) <= 200


async def test_bounds_come_from_the_settings() -> None:
    bounds = CanaryBounds(perplexity_max=12.0, decode_tokens=3)
    verdict, _ = await prove(Script(), bounds=bounds)
    assert verdict.reason == "perplexity: expected under 12, found 12.7"
    script = Script()
    await prove(script, bounds=CanaryBounds(decode_tokens=3))
    assert script.frames[0].sampling.max_tokens == 3
