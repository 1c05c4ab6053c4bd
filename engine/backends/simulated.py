"""The simulated backend: plays a ``simulated.json``, its failures included.

It needs no memory and no processor, so every way a model can behave is shown in seconds. Whatever
it answers for a healthy model is plausible and says so nowhere: the catalog marks it ``sim``.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.backends.answer import Answer, Reason
from engine.backends.base import LoadError, OnProgress, StepEvent, refuse_bias, refuse_length
from engine.backends.dialect import Dialect
from engine.backends.simulated_fault import FaultCounter, Faults
from engine.backends.slots import Slots
from engine.catalog.simulated import ScriptError, SimulatedScript, When, read_script
from engine.workers.placement import Seat
from engine.workers.protocol import (
    Chance,
    Generate,
    Load,
    Loaded,
    Message,
    Probe,
    Probed,
    Progress,
    Started,
    TokenChance,
)

CANARY_PREFIX = "canary-"
"""How the ids of the canary's own requests begin: the worker knows its canary by nothing else."""
_HEALTHY = ("It", " works", ".")
GARBAGE = "#"
"""The one text ``garbage`` repeats, as broken kernels do (llama.cpp#6957)."""
_NAP_S = 0.05
"""Longest sleep inside a step, so that a slow model still hears a cancel at once."""
_LOAD_TICK_S = 0.02
_CANARY_PACE = 1000.0
_VOCABULARY = 32_000
_PERPLEXITY = 12.5
_LIKELY = -0.105
"""What every word is told to have had: nine chances in ten."""
_OTHERS = (
    *("the", "a", "and", "of", "to", "in", "is", "it", "that", "for"),
    *("on", "was", "with", "as", "be", "at", "by", "this", "from"),
)
"""What else it might have said, each less likely than the one before."""
_THINKING = ("<think>", "</think>")


@dataclass(slots=True, eq=False)
class _Run:
    request: Generate
    answer: Answer
    due: float
    """When its next token is, on the backend's clock."""
    prefilled: bool = False
    moment: When = field(init=False)
    subject: str = field(init=False)

    def __post_init__(self) -> None:
        canary = self.request.id.startswith(CANARY_PREFIX)
        self.moment = "canary" if canary else "token"
        self.subject = "" if canary else self.request.id


def _render(messages: Sequence[Message], *, opening: bool = True, **_: Any) -> str:
    turns = "".join(f"<{message.role}> {message.content}\n" for message in messages)
    return turns + "<assistant>" if opening else turns


def _render_thinking(messages: Sequence[Message], *, opening: bool = True, **_: Any) -> str:
    """As the templates of models that always think: they open it themselves."""
    return _render(messages, opening=opening) + (_THINKING[0] if opening else "")


def _dialect(script: SimulatedScript) -> Dialect:
    """How a script writes: one that closes a thought it never opened had its prompt open it."""
    before, closed, _ = "".join(script.say).partition(_THINKING[1])
    return Dialect(
        render=_render_thinking if closed and _THINKING[0] not in before else _render,
        tool_format=script.tool_format or "",
        thinking=_THINKING if closed else None,
    )


def _chance(piece: str, top: int) -> TokenChance:
    words = [piece, *(word for word in _OTHERS if word != piece)][:top]
    chances = tuple(
        Chance(text=word, bytes=tuple(word.encode()), logprob=_LIKELY - 3.0 * at)
        for at, word in enumerate(words)
    )
    return TokenChance(text=piece, bytes=tuple(piece.encode()), logprob=_LIKELY, top=chances)


def _count(text: str) -> int:
    """Prompt tokens of the simulation: words."""
    return len(text.split())


class SimulatedBackend:
    """A :class:`engine.backends.base.ModelBackend` that follows a script.

    Faults fire at ``load`` after so many seconds of it (or at its end, if that is sooner), at the
    canary's question number ``after`` (probes and generations counted from 1; 0 is the first),
    after so many tokens of one user's request, or after so many seconds without work.

    Args:
        raw_output: Writes bytes to the parent's socket, for a torn frame.
        seat: Which of several processes it is, if it is: it has the faults of that rank only.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        raw_output: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        *,
        seat: Seat | None = None,
    ) -> None:
        self.backend_version = "simulated 1.0"
        self.device = "none"
        self._raw_output = raw_output
        self._clock = clock
        self._sleep = sleep
        self._script = SimulatedScript(kind="simulated")
        self._context = 0
        self._seat = seat or Seat(0, 1)
        self._faults = Faults((), FaultCounter(None), raw_output)
        self._slots: Slots[_Run] = Slots()
        self._news: list[StepEvent] = []
        """What the next step tells first."""
        self._dialect = Dialect()
        self._questions = 0
        self._worked_at = clock()
        self._loaded = False

    def load(self, spec: Load, on_progress: OnProgress) -> Loaded:
        """Pretend to load, for as long as the script says.

        Raises:
            LoadError: the script cannot be read.
            MemoryError: the fault ``oom``.
        """
        try:
            script = self._script = read_script(Path(spec.path))
        except ScriptError as error:
            raise LoadError(str(error)) from error
        counter = FaultCounter.of(spec.state_dir, spec.fingerprint, spec.path)
        self._faults = Faults(script.faults, counter, self._raw_output, rank=self._seat.rank)
        self._context = min(spec.context, script.context)
        self._slots = Slots(max(1, spec.slots), self._clock())
        self._dialect = _dialect(script)
        started = self._clock()
        while (elapsed := self._clock() - started) < script.load_seconds:
            self._faults.reach("load", elapsed)
            on_progress(elapsed / script.load_seconds, "loading")
            self._sleep(min(_LOAD_TICK_S, script.load_seconds - elapsed))
        self._faults.reach("load", float("inf"))
        on_progress(1.0, "loading")
        self._loaded = True
        self._worked_at = self._clock()
        return Loaded(
            context=self._context,
            vocabulary=_VOCABULARY,
            chat=True,
            tool_format=self._dialect.tool_format,
            thinking=self._dialect.thinking,
            backend_version=f"simulated {script.backend_version}",
            memory_bytes=self.memory_bytes(),
        )

    def submit(self, request: Generate) -> None:
        """Queue a request.

        Raises:
            RequestError: its prompt is empty or does not fit the context.
        """
        prompt = self._dialect.prompt(request)
        words = _count(prompt.text)
        refuse_bias(request.sampling.logit_bias, _VOCABULARY)
        refuse_length(words, self._context)
        if request.id.startswith(CANARY_PREFIX):
            self._ask()
        self._slots.waiting.append(_Run(request, Answer(request, words), self._clock()))
        self._news.append(Started(id=request.id, prompt_tokens=words, thinking=prompt.thinking))

    def _ask(self) -> None:
        self._questions += 1
        self._faults.reach("canary", self._questions)

    def step(self) -> list[StepEvent]:
        """Say the next text of every request that is due."""
        slots = self._slots
        events, self._news = self._news, []
        for run in slots.take_cancelled():
            self._finish(run, "cancelled", events)
        while slots.first is not None:
            slots.admit().due = self._clock()
        if slots.running:
            pause = min(run.due for run in slots.running) - self._clock()
            if pause > 0:
                self._sleep(min(pause, _NAP_S))
        now = self._clock()
        for run in [run for run in slots.running if run.due <= now]:
            run.due = max(run.due + 1 / self._pace(run), now - 1)
            self._advance(run, events)
        slots.report_waiting(now, events)
        self._worked_at = self._clock()
        return events

    def _pace(self, run: _Run) -> float:
        """Tokens a second. A canary is spoken at a pace at which a cancel can overtake it."""
        fast = self._script.tokens_per_second
        return min(fast, _CANARY_PACE) if run.moment == "canary" else fast

    def _advance(self, run: _Run, events: list[StepEvent]) -> None:
        request = run.request
        if not run.prefilled:
            run.prefilled = True
            total = run.answer.prompt_tokens
            events.append(
                Progress(id=request.id, stage="prefill", fraction=1.0, done=total, total=total)
            )
        if run.moment == "token":
            self._faults.reach("token", run.answer.generated, run.subject)
        colours = self._faults.colours(run.moment, run.subject)
        # A real model's NaN logits end in no text at all (llama.cpp), so both look the same here.
        if "empty" in colours or "nan" in colours:
            self._finish(run, "stop", events)
            return
        garbage = "garbage" in colours
        # The canary hears a healthy model, so that a script may say anything else: one long tool
        # call, nothing but spaces. What fails a canary is a fault.
        say = _HEALTHY if run.moment == "canary" else self._script.say
        piece = GARBAGE if garbage else say[run.answer.generated % len(say)]
        top = request.logprobs
        run.answer.add(piece, events, None if top is None else _chance(piece, top))
        if run.answer.stopped:
            self._finish(run, "stop", events)
        elif run.answer.generated == len(say) and request.sampling.max_tokens >= self._context:
            self._finish(run, "stop", events)  # nobody wants more: the script is the answer
        elif (
            run.answer.generated >= request.sampling.max_tokens
            or run.answer.prompt_tokens + run.answer.generated >= self._context
        ):
            self._finish(run, "length", events)

    def _finish(self, run: _Run, reason: Reason, events: list[StepEvent]) -> None:
        self._slots.leave(run)
        if run.subject:
            self._faults.forget(run.subject)
        run.answer.end(reason, events)

    def cancel(self, request_id: str) -> None:
        """Mark a request; the next step ends it."""
        self._slots.cancel(request_id)

    def idle(self) -> None:
        """Called by the loop while there is nothing to do: the moment of ``idle`` faults."""
        if self._loaded:
            self._faults.reach("idle", self._clock() - self._worked_at)

    def probe(self, question: Probe) -> Probed:
        """Answer as a healthy model would, unless a fault says otherwise."""
        self._ask()
        self._worked_at = self._clock()
        colours = self._faults.colours("canary")
        text, detail = "", ""
        words = float(_count(question.text))
        values = {"tokens": words}
        if question.name in ("template", "render"):
            text = _render(question.messages)
            values = {"characters": float(len(text)), "tokens": float(_count(text))}
        elif question.name == "logits":
            values |= {"nonfinite": 0.0, "min": -18.0, "max": 27.0, "spread": 31.0}
            if "nan" in colours:
                broken = words * _VOCABULARY
                values = {"tokens": words, "nonfinite": broken}
                detail = f"{broken:,.0f} logits are NaN or infinite"
        elif question.name == "perplexity":
            values["perplexity"] = float(_VOCABULARY) if "garbage" in colours else _PERPLEXITY
            if "nan" in colours:
                del values["perplexity"]
                detail = "the logits are NaN or infinite"
        return Probed(
            id=question.id,
            name=question.name,
            ok=not detail,
            detail=detail,
            values=values,
            text=text,
        )

    @property
    def active(self) -> int:
        """Requests running or waiting."""
        return len(self._slots)

    @property
    def queued(self) -> int:
        """Requests waiting for a slot."""
        return len(self._slots.waiting)

    def memory_bytes(self) -> int:
        """What the script claims to weigh; nothing like it is allocated."""
        return self._script.weight_bytes // self._seat.ranks

    def close(self) -> None:
        """Nothing to free; never returns once ``ignore_term`` has fired."""
        self._faults.obey()
