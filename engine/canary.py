"""The canary: real inference checks after a load, each with the failure it is meant to catch.

"It loaded and returned 200" proves nothing: NaN weights answer with an empty string and no error
(llama.cpp) or with one token repeated (mlx-lm), a wrong tokenizer answers fluently wrong. Only a
model that passes every required step gets traffic. A worker that dies in here is a strike, not a
failed canary, and its death passes through as WorkerDied.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from engine.settings import CanaryBounds
from engine.text import clean_line
from engine.types import CanaryStep, StepResult
from engine.workers.exits import WorkerExit
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Generate,
    Hello,
    Loaded,
    Message,
    Probe,
    Probed,
    Sampling,
)
from engine.workers.supervisor import Answer, WorkerDied

STEPS = (
    "handshake",
    "tokenizer",
    "template",
    "logits",
    "perplexity",
    "decode",
    "streaming",
    "cancel",
    "memory",
)
PASSAGE = (
    "The sun rises in the east and sets in the west. Water freezes at zero degrees and boils "
    "at one hundred. Most people sleep at night and work during the day."
)
"""Plain English any general model has seen. Healthy models of 135 M and 270 M parameters scored
13 and 11 on such text; random weights score near the vocabulary's size (tens of thousands)."""
ROUND_TRIP = "Hello, world! 2026: naïve café, 你好, x = [1, 2]."
QUESTION = "What is the capital of France?"
_CANCEL_TOKENS = 256
_SHORT = 2
"""An answer of so many tokens shows nothing of streaming."""
_REPEATS = 8
"""So many tokens, all the same, are no answer (llama.cpp#6957: "GGGGGG", "####")."""


class Prover(Protocol):
    """What the canary needs of a worker; the supervisor is one."""

    async def probe(self, frame: Probe, deadline_s: float) -> Probed: ...

    def generate(self, frame: Generate) -> "asyncio.Queue[Answer]": ...

    def cancel(self, request_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of the model before the first question."""

    hello: Hello
    loaded: Loaded
    backend_version: str
    """The version the gate judged; a worker that speaks of another is not the one admitted."""
    estimate_bytes: int
    measured_bytes: Callable[[], int]
    deadline_s: float
    """For each step that computes, in seconds."""
    template_s: float
    last_tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    steps: tuple[CanaryStep, ...]
    passed: bool
    reason: str
    """``logits: 49152 of 49152 not finite`` for a failure, ``9/9`` for a pass."""
    ttft_ms: float | None
    tokens_per_second: float | None


class _StepFailed(Exception):
    """A step's answer is no; the text says what was expected and found."""

    result = StepResult.FAIL


class _StepWarned(_StepFailed):
    """A step passed in a way the operator should know of."""

    result = StepResult.WARN


class _StepSkipped(_StepFailed):
    """A step does not apply to this model."""

    result = StepResult.SKIPPED


@dataclass(slots=True)
class _Answer:
    text: str
    pieces: int
    tokens: int
    ttft_ms: float | None
    tokens_per_second: float | None


class Canary:
    """One run of the suite on one worker."""

    def __init__(
        self,
        worker: Prover,
        subject: Subject,
        bounds: CanaryBounds,
        run_id: str,
        on_step: Callable[[tuple[CanaryStep, ...]], None],
    ) -> None:
        self._worker = worker
        self._subject = subject
        self._bounds = bounds
        self._run_id = run_id
        self._on_step = on_step
        self._steps = {name: CanaryStep(name, required=name != "memory") for name in STEPS}
        self._answer: _Answer | None = None

    async def run(self) -> Verdict:
        """Ask every question in order; the first required one that fails ends the run.

        Raises:
            WorkerDied: the worker did not survive it.
            TimeoutError: a step other than the template's was never answered: the worker hangs.
        """
        questions: dict[str, Callable[[], Awaitable[str]]] = {
            "handshake": self._handshake,
            "tokenizer": self._tokenizer,
            "template": self._template,
            "logits": self._logits,
            "perplexity": self._perplexity,
            "decode": self._decode,
            "streaming": self._streaming,
            "cancel": self._cancel,
            "memory": self._memory,
        }
        for name, question in questions.items():
            failure = await self._ask(name, question)
            if failure:
                return self._verdict(False, f"{name}: {failure}")
        answered = sum(s.result is not StepResult.SKIPPED for s in self._steps.values())
        passed = sum(s.result in (StepResult.PASS, StepResult.WARN) for s in self._steps.values())
        return self._verdict(True, f"canary {passed}/{answered}")

    def _verdict(self, passed: bool, reason: str) -> Verdict:
        answer = self._answer
        return Verdict(
            steps=tuple(self._steps.values()),
            passed=passed,
            reason=clean_line(reason, limit=200),
            ttft_ms=answer.ttft_ms if answer else None,
            tokens_per_second=answer.tokens_per_second if answer else None,
        )

    async def _ask(self, name: str, question: Callable[[], Awaitable[str]]) -> str:
        """Run one step; returns why it failed if it was required, else empty."""
        step = self._show(replace(self._steps[name], result=StepResult.RUNNING))
        started = time.monotonic()
        try:
            detail, result = await question(), StepResult.PASS
        except _StepFailed as said:
            detail, result = str(said), said.result
        if result is StepResult.FAIL and not step.required:
            result = StepResult.WARN
        elapsed = (time.monotonic() - started) * 1000
        detail = clean_line(detail, limit=160)
        self._show(replace(step, result=result, ms=elapsed, detail=detail))
        return detail if result is StepResult.FAIL else ""

    def _show(self, step: CanaryStep) -> CanaryStep:
        self._steps[step.name] = step
        self._on_step(tuple(self._steps.values()))
        return step

    # -- the steps ------------------------------------------------------------------------------

    async def _handshake(self) -> str:
        """The worker runs the backend version the gate judged.

        Threshold: equal. Source: a verdict is keyed by the version, so that of another is none.
        """
        said = self._subject.loaded.backend_version or self._subject.hello.backend_version
        if said != self._subject.backend_version:
            raise _StepFailed(f"expected {self._subject.backend_version}, found {said}")
        return self._subject.hello.device

    async def _tokenizer(self) -> str:
        """Text survives tokenising and detokenising: a damaged vocabulary does not do this.

        Threshold: the same text, but for spaces before it. A vocabulary whose single characters
        are gone fails here; a permuted one is consistent with itself and fails at perplexity
        (measured on the starter: 552,558).
        """
        answer = await self._probe("tokenizer", text=ROUND_TRIP)
        return f"{answer.values.get('tokens', 0):.0f} tokens"

    async def _template(self) -> str:
        """The chat template renders, in bounded time and memory: templates can loop for ever.

        Threshold: ``deadlines.template_s`` and 512 MB (engine/backends/template.py). Source: three
        nested ranges ran until they were killed (measured). Warns where the prompt
        lacks the question, and where what follows an answer is no token the backend stops at:
        such a model runs to its cap, which is slow and no danger.
        """
        if not self._subject.loaded.chat:
            raise _StepSkipped("no chat template: completions only")
        try:
            answer = await self._probe("template", deadline_s=self._subject.template_s, asks=True)
        except TimeoutError:
            raise _StepFailed(f"not rendered in {self._subject.template_s:g} s") from None
        if QUESTION not in answer.text:
            raise _StepWarned("the question is not in the prompt")
        if answer.values.get("ends") == 0:
            raise _StepWarned("answers end in no token it stops at: it may never stop")
        return f"{answer.values.get('tokens', 0):.0f} tokens"

    async def _logits(self) -> str:
        """Every logit is finite, they differ, and no layer is empty.

        Threshold: no NaN or infinity, a spread of 1e-6 (a healthy starter has 29, one of zeros 0),
        and no layer of zeros alone. Source: NaN weights answer with nothing and no error; with 3
        of 30 layers zeroed the perplexity was 801, under any bound that spares small models
        (measured; engine/backends/hollow.py). A single matrix of zeros only warns: merges do that.
        """
        answer = await self._probe("logits", text=PASSAGE)
        if answer.values.get("hollow"):
            raise _StepWarned(answer.detail)
        return f"spread {answer.values.get('spread', 0):.1f}"

    async def _perplexity(self) -> str:
        """Plain English is not a surprise: shuffled or wrong weights, a wrong tokenizer.

        Threshold: ``canary.perplexity_max``, 1,000. Source: healthy models of 135 M and 270 M
        parameters scored 13 and 11; the starter scored 27,243 with the rows of 3 of 30 layers
        shuffled, 628,053 with its embedding's, 552,558 with its vocabulary permuted (measured).
        """
        answer = await self._probe("perplexity", text=PASSAGE)
        found, bound = answer.values.get("perplexity", float("nan")), self._bounds.perplexity_max
        if not found <= bound:  # NaN fails too
            raise _StepFailed(f"expected under {bound:,.0f}, found {found:,.1f}")
        return f"{found:.1f} (<{bound:,.0f})"

    async def _decode(self) -> str:
        """A greedy answer has words, is not one token repeated, and ends or reaches its cap.

        Threshold: some text; from 8 tokens on two different words or characters; under a quarter
        of it undecodable. Source: llama.cpp#6957 ("GGGGGG"); a first token that ends the text
        leaves nothing. The cap, ``canary.decode_tokens``, is what a model that never stops meets.
        Warns below ``canary.slower_factor`` of the speed of the last pass.
        """
        answer = self._answer = await self._generate("decode", self._bounds.decode_tokens)
        text = answer.text.strip()
        if not text:
            raise _StepFailed("said nothing")
        if answer.tokens >= _REPEATS and len(set(text.split())) == 1:
            raise _StepFailed(f"repeats itself: {text[:24]!r}")
        if answer.tokens >= _REPEATS and len(set(text)) == 1:
            raise _StepFailed(f"repeats itself: {text[:24]!r}")
        if text.count("\ufffd") > len(text) // 4:
            raise _StepFailed(f"not valid text: {text[:24]!r}")
        speed, before = answer.tokens_per_second, self._subject.last_tokens_per_second
        if speed and before and speed < before * self._bounds.slower_factor:
            raise _StepWarned(f"{speed:.1f} tok/s; was {before:.1f}")
        return f"{answer.tokens} tok" + (f", {speed:.1f} tok/s" if speed else "")

    async def _streaming(self) -> str:
        """Words arrive as they are made: an answer of several tokens comes in several pieces.

        Threshold: two pieces from 3 tokens on; fewer may be one character or held as a stop text.
        The answer of ``decode`` is looked at: another took a quarter of the canary (GGUF); only one
        that was too short is asked for again, past its end.
        """
        answer = self._answer
        if answer is None or answer.tokens <= _SHORT:
            answer = await self._generate("streaming", 6, ignore_eos=True)
        if answer.tokens > _SHORT and answer.pieces < 2:
            raise _StepFailed(f"{answer.tokens} tokens arrived in one piece")
        return f"{answer.pieces} pieces"

    async def _cancel(self) -> str:
        """A cancelled request frees its slot: the next one runs.

        Threshold: ended before its cap of 256 tokens, and then one more token for another
        request. A design rule: a cancel frees its slot within one step.
        """
        frame = self._request("cancel", _CANCEL_TOKENS, ignore_eos=True)
        queue = self._worker.generate(frame)
        item = await self._next(queue)
        while not isinstance(item, Delta | Finished | Failed | WorkerExit):
            item = await self._next(queue)
        self._worker.cancel(frame.id)
        while not isinstance(item, Finished | Failed | WorkerExit):
            item = await self._next(queue)
        if isinstance(item, WorkerExit):
            raise WorkerDied(item)
        if isinstance(item, Failed):
            raise _StepFailed(item.message)
        if item.reason != "cancelled" and item.completion_tokens >= _CANCEL_TOKENS:
            raise _StepFailed("ran on to its cap after the cancel")
        after = await self._generate("after-cancel", 1)
        return f"after {item.completion_tokens} tok" if after.tokens else ""

    async def _memory(self) -> str:
        """What it takes beside what was estimated; only warns.

        Threshold: 125 % of the estimate, which is an upper bound: the starter takes 30 to 65 % of
        it (``python -m tests.benchmarks.memory_estimate``), so a quarter above is no noise.
        """
        measured, estimate = self._subject.measured_bytes(), self._subject.estimate_bytes
        share = measured / estimate if estimate else 0.0
        if share > 1.25:
            raise _StepWarned(f"{share:.0%} of the estimate")
        return f"{share:.0%} of the estimate" if estimate else ""

    # -- how they ask ---------------------------------------------------------------------------

    async def _probe(
        self, name: str, *, text: str = "", deadline_s: float | None = None, asks: bool = False
    ) -> Probed:
        frame = Probe.model_validate(
            {
                "id": f"canary-{self._run_id}-{name}",
                "name": name,
                "text": text,
                "messages": (Message(role="user", content=QUESTION),) if asks else (),
            }
        )
        answer = await self._worker.probe(frame, deadline_s or self._subject.deadline_s)
        if not answer.ok:
            raise _StepFailed(answer.detail or "failed")
        return answer

    def _request(self, name: str, tokens: int, *, ignore_eos: bool = False) -> Generate:
        chat = self._subject.loaded.chat
        return Generate(
            id=f"canary-{self._run_id}-{name}",
            messages=(Message(role="user", content=QUESTION),) if chat else (),
            prompt=None if chat else "The capital of France is",
            sampling=Sampling(temperature=0.0, max_tokens=tokens),
            ignore_eos=ignore_eos,
        )

    async def _generate(self, name: str, tokens: int, *, ignore_eos: bool = False) -> _Answer:
        started = time.monotonic()
        queue = self._worker.generate(self._request(name, tokens, ignore_eos=ignore_eos))
        text, pieces = "", 0
        first = last = started
        while True:
            match await self._next(queue):
                case Delta() as delta:
                    last = time.monotonic()
                    first = last if not pieces else first
                    pieces += 1
                    text += delta.text
                case Failed() as failed:
                    raise _StepFailed(failed.message)
                case WorkerExit() as end:
                    raise WorkerDied(end)
                case Finished() as finished:
                    count = finished.completion_tokens
                    speed = (count - 1) / (last - first) if count > 1 and last > first else None
                    return _Answer(
                        text=text,
                        pieces=pieces,
                        tokens=count,
                        ttft_ms=(first - started) * 1000 if pieces else None,
                        tokens_per_second=speed,
                    )

    async def _next(self, queue: "asyncio.Queue[Answer]") -> Answer:
        # A busy worker says every second that it is waiting: that is no hang.
        # Not wait_for: before Python 3.12 it loses a cancellation that meets the answer.
        async with asyncio.timeout(self._subject.deadline_s):
            return await queue.get()
