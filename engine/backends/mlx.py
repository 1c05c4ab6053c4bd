"""The MLX backend: continuous batching over mlx-lm's own batch generator.

Everything runs on the calling thread: MLX is not safe to call from several (facts, rows 49, 50).
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from engine.backends.slots import Slots
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
    number: int = -1
    """The batch's, once it computes."""


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
        self._slots: Slots[_Run] = Slots()
        self._numbered: dict[int, _Run] = {}
        """Who computes, by the batch's number."""
        self._grammars = Grammars(self._guide)
        self._news: list[StepEvent] = []
        """What the next step tells first."""
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
        self._context = min(spec.context, model.context_trained or spec.context)
        self._batch = Batch(
            model, slots=spec.slots, context=self._context, clock=self._clock, ring=ring
        )
        self._slots = Slots(spec.slots, self._clock())
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
        for run in self._slots.take_cancelled():
            self._leave(batch, run)
            self._finish(run, "cancelled", events)
        self._admit(batch)
        self._slots.report_waiting(self._clock(), events)
        if not self._slots.running:
            return events
        read, drawn = batch.step()
        for number, done, total in read:
            run = self._numbered[number]
            share = done / total
            events.append(
                Progress(id=run.request.id, stage="prefill", fraction=share, done=done, total=total)
            )
        for one in drawn:
            self._advance(batch, one, events)
        return events

    def _leave(self, batch: Batch, run: _Run) -> None:
        """Let a request go that the batch has not ended by itself."""
        if run.number in self._numbered:
            batch.remove(run.number)

    def _admit(self, batch: Batch) -> None:
        while (run := self._slots.first) is not None and not batch.awaits(run.prompt):
            run = self._slots.admit()
            run.number = batch.add(
                run.prompt,
                run.request.sampling,
                run.limit,
                ignore_eos=run.request.ignore_eos,
                constraint=run.constraint,
                chances=run.request.logprobs is not None,
            )
            run.answer.cached_tokens = batch.shared(run.number)
            self._numbered[run.number] = run

    def _advance(self, batch: Batch, drawn: Drawn, events: list[StepEvent]) -> None:
        number, token, reason, logits = drawn
        run = self._numbered[number]
        constraint = run.constraint
        if constraint is not None and constraint.trouble:
            if reason is None:
                self._leave(batch, run)
            self._forget(run)
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
                self._leave(batch, run)
        if over or reason is not None:
            self._finish(run, "stop" if over else "length", events)

    def _forget(self, run: _Run) -> None:
        self._slots.leave(run)
        self._numbered.pop(run.number, None)

    def _finish(self, run: _Run, reason: Reason, events: list[StepEvent]) -> None:
        self._forget(run)
        run.answer.end(reason, events, rest=run.pieces.finish())

    def cancel(self, request_id: str) -> None:
        """Mark a request; the next step ends it. Unknown ids are ignored."""
        self._slots.cancel(request_id)

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
        return len(self._slots)

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
        self._slots = Slots()
        self._numbered = {}
        self._batch = None
        self._model = None
        self._evaluation = None
        mlx_runtime.release_memory()
