"""The MLX backend: continuous batching over mlx-lm's own batch generator.

Everything runs on the calling thread: MLX is not safe to call from several (facts, rows 49, 50).
"""

import collections
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.backends import mlx_model, mlx_probe, mlx_runtime
from engine.backends.answer import Answer, Reason
from engine.backends.base import (
    LoadError,
    OnProgress,
    RequestError,
    StepEvent,
    refuse_bias,
    refuse_length,
)
from engine.backends.chance import chance
from engine.backends.constraint import Constraint, Grammars
from engine.backends.dialect import Prompt
from engine.backends.hollow import Hollow
from engine.backends.mlx_batch import Batch, Drawn
from engine.backends.mlx_piece import Pieces
from engine.backends.mlx_ring import Ring
from engine.backends.score import Evaluation, score
from engine.backends.template import closing
from engine.workers.protocol import (
    Failed,
    Generate,
    Load,
    Loaded,
    Message,
    Probe,
    Probed,
    Progress,
    Started,
)

_QUEUED_S = 1.0
"""How often a waiting request says that it waits: the parent must see that it lives."""


@dataclass(slots=True, eq=False)
class _Run:
    """One request: waiting, reading its prompt or decoding."""

    request: Generate
    prompt: list[int]
    limit: int
    """Tokens it may generate: what it asked for, or what the context leaves."""
    constraint: Constraint | None
    pieces: Pieces
    answer: Answer
    cancelled: bool = False


@dataclass(slots=True)
class _Slots:
    """Who computes, by the batch's number, and who waits, in order of arrival."""

    running: dict[int, _Run] = field(default_factory=dict)
    waiting: collections.deque[_Run] = field(default_factory=collections.deque)


class MlxBackend:
    """A :class:`engine.backends.base.ModelBackend` over mlx-lm. Making one imports mlx-lm."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, ring: Ring | None = None
    ) -> None:
        """Args:
        ring: Where it meets the other ranks, if it is to hold one part of a split model.
        """
        mlx_runtime.import_mlx()
        self._ring = ring
        self.backend_version = mlx_runtime.backend_version()
        self.device = mlx_runtime.device()
        self._clock = clock
        self._model: mlx_model.LoadedModel | None = None
        self._batch: Batch | None = None
        self._context = 0
        self._most = 1
        self._slots = _Slots()
        self._grammars = Grammars(self._guide)
        self._news: list[StepEvent] = []
        """What the next step tells first."""
        self._spoke = clock()
        self._evaluation: Evaluation | None = None
        self._holes: Hollow | None = None

    @property
    def _loaded(self) -> mlx_model.LoadedModel:
        if self._model is None:
            raise RequestError("invalid", "no model is loaded")
        return self._model

    @property
    def _computing(self) -> Batch:
        if self._batch is None:
            raise RequestError("invalid", "no model is loaded")
        return self._batch

    def load(self, spec: Load, on_progress: OnProgress) -> Loaded:
        """Load the model, building it first if it is the starter and not there yet.

        Raises:
            LoadError: the folder is missing, the starter cannot be built, or the load names
                impossible numbers.
            Exception: what mlx-lm or transformers say of a model they cannot load.
        """
        if spec.slots < 1 or spec.context < 1:
            raise LoadError(f"slots {spec.slots}, context {spec.context}: both must be positive")
        folder = Path(spec.path)
        ring = self._ring
        if spec.build_from and (ring is None or ring.first):
            mlx_model.ensure_built(Path(spec.build_from), folder, on_progress)
        elif spec.build_from:
            mlx_model.await_built(folder)
        model = mlx_model.load_folder(folder, on_progress, ring)
        self._model = model
        self._batch = Batch(model, slots=spec.slots, clock=self._clock, ring=ring)
        self._context = min(spec.context, model.context_trained or spec.context)
        self._most = spec.slots
        return Loaded(
            context=self._context,
            vocabulary=model.vocabulary,
            chat=model.dialect.render is not None,
            tool_format=model.dialect.tool_format,
            thinking=model.dialect.thinking,
            memory_bytes=self.memory_bytes(),
        )

    def _guide(self) -> Any:
        return self._loaded.guide()

    def submit(self, request: Generate) -> None:
        """Queue a request.

        Raises:
            RequestError: it has no prompt, does not fit the context, or cannot be rendered.
        """
        model = self._loaded
        prompt, tokens = self._read(request)
        refuse_bias(request.sampling.logit_bias, model.vocabulary)
        refuse_length(len(tokens), self._context)
        self._slots.waiting.append(
            _Run(
                request,
                tokens,
                limit=min(request.sampling.max_tokens, self._context - len(tokens)),
                constraint=self._grammars.constrain(request.json_schema, after=prompt.inside),
                pieces=Pieces(model.spell, tokens),
                answer=Answer(request, len(tokens)),
            )
        )
        self._news.append(
            Started(id=request.id, prompt_tokens=len(tokens), thinking=prompt.thinking)
        )

    def _read(self, request: Generate) -> tuple[Prompt, list[int]]:
        """The prompt and its tokens: rank 0's, because a template may write the time of day."""
        model, ring = self._loaded, self._ring
        try:
            prompt = model.dialect.prompt(request)
        except RequestError:
            if ring is not None:  # the others wait for this rank's word too
                ring.lead_tokens([])
            raise
        # A template writes the tokens that begin a sequence itself.
        tokens = model.encode(prompt.text, special=request.prompt is not None)
        return prompt, tokens if ring is None else ring.lead_tokens(tokens)

    def step(self) -> list[StepEvent]:
        """Advance every running request by a token or a piece of its prompt.

        Raises:
            RuntimeError: MLX failed; what it holds is unknown.
        """
        batch = self._computing
        events, self._news = self._news, []
        self._end_cancelled(batch, events)
        self._admit(batch)
        self._report_waiting(events)
        if not self._slots.running:
            return events
        read, drawn = batch.step()
        for number, done, total in read:
            run = self._slots.running[number]
            share = done / total
            events.append(
                Progress(id=run.request.id, stage="prefill", fraction=share, done=done, total=total)
            )
        for one in drawn:
            self._advance(batch, one, events)
        return events

    def _end_cancelled(self, batch: Batch, events: list[StepEvent]) -> None:
        slots = self._slots
        for number in [number for number, run in slots.running.items() if run.cancelled]:
            batch.remove(number)
            self._finish(slots.running.pop(number), "cancelled", events)
        for run in [run for run in slots.waiting if run.cancelled]:
            slots.waiting.remove(run)
            self._finish(run, "cancelled", events)

    def _admit(self, batch: Batch) -> None:
        slots = self._slots
        while slots.waiting and len(slots.running) < self._most:
            run = slots.waiting.popleft()
            number = batch.add(
                run.prompt,
                run.request.sampling,
                run.limit,
                ignore_eos=run.request.ignore_eos,
                constraint=run.constraint,
                chances=run.request.logprobs is not None,
            )
            run.answer.cached_tokens = batch.shared(number)
            slots.running[number] = run

    def _report_waiting(self, events: list[StepEvent]) -> None:
        now = self._clock()
        if now - self._spoke < _QUEUED_S:
            return
        self._spoke = now
        events.extend(Progress(id=run.request.id, stage="queued") for run in self._slots.waiting)

    def _advance(self, batch: Batch, drawn: Drawn, events: list[StepEvent]) -> None:
        number, token, reason, logits = drawn
        run = self._slots.running[number]
        constraint = run.constraint
        if constraint is not None and constraint.trouble:
            if reason is None:
                batch.remove(number)
            del self._slots.running[number]
            events.append(Failed(id=run.request.id, kind="invalid", message=constraint.trouble))
            return
        over = reason == "stop"
        if not over:  # the token that ends a text has none
            told = None
            if logits is not None:
                told = chance(logits, token, run.request.logprobs or 0, self._loaded.spelling)
            run.answer.add(run.pieces.add(token), events, told)
            over = run.answer.stopped or (constraint is not None and constraint.complete)
            if over and reason is None:
                batch.remove(number)
        if over or reason is not None:
            del self._slots.running[number]
            self._finish(run, "stop" if over else "length", events)

    def _finish(self, run: _Run, reason: Reason, events: list[StepEvent]) -> None:
        run.answer.end(reason, events, rest=run.pieces.finish())

    def cancel(self, request_id: str) -> None:
        """Mark a request; the next step ends it. Unknown ids are ignored."""
        for run in (*self._slots.running.values(), *self._slots.waiting):
            if run.request.id == request_id:
                run.cancelled = True

    def probe(self, question: Probe) -> Probed:
        """Answer one canary question with a cache of its own.

        Raises:
            RequestError: the template refused, or there is none.
        """
        model = self._loaded
        values: dict[str, float]
        if question.name in ("template", "render"):
            text = model.dialect.renderer(question.messages)
            tokens = model.encode(text, special=False)
            values = {"characters": float(len(text)), "tokens": float(len(tokens))}
            if question.name == "template":
                values |= self._ending(question.messages)
            return self._answer(question, "" if text else "nothing rendered", values, text)
        if question.name == "tokenizer":
            trouble, count = mlx_probe.round_trip(model, question.text)
            return self._answer(question, trouble, {"tokens": float(count)})
        if self._evaluation is None or self._evaluation.text != question.text:
            with self._ring.order() if self._ring else contextlib.nullcontext():
                seen = mlx_probe.evaluate(model, question.text, context=self._context)
            self._evaluation = seen
        if self._holes is None:
            self._holes = mlx_probe.holes(model)
        return score(question, self._evaluation, self._holes)

    def _ending(self, messages: tuple[Message, ...]) -> dict[str, float]:
        model = self._loaded
        after = closing(None if model.coded else model.dialect.render, messages)
        if after is None:
            return {}
        return {"ends": float(not model.ends.isdisjoint(model.encode(after, special=False)))}

    @staticmethod
    def _answer(question: Probe, trouble: str, values: dict[str, float], text: str = "") -> Probed:
        return Probed(
            id=question.id,
            name=question.name,
            ok=not trouble,
            detail=trouble,
            values=values,
            text=text,
        )

    @property
    def active(self) -> int:
        """Requests running or waiting."""
        return len(self._slots.running) + len(self._slots.waiting)

    @property
    def queued(self) -> int:
        """Requests waiting for a slot."""
        return len(self._slots.waiting)

    def memory_bytes(self) -> int:
        """What the process holds, the GPU's share included."""
        return mlx_runtime.memory_bytes()

    def close(self) -> None:
        """Free the model."""
        if self._batch is not None:
            self._batch.close()
        self._grammars.close()
        self._slots = _Slots()
        self._batch = None
        self._model = None
        self._evaluation = None
        mlx_runtime.release_memory()
