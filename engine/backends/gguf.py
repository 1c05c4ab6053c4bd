"""The GGUF backend: continuous batching over llama.cpp's low-level API.

Every step is one ``llama_decode``: a token for each running stream and a bounded piece of the
prompts that are still being read.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends import footprint
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
from engine.backends.constraint import Grammars
from engine.backends.cores import compute_threads
from engine.backends.dialect import Dialect, thinking, tool_format
from engine.backends.gguf_cells import Cells
from engine.backends.gguf_native import BATCH, MOST_SLOTS, NativeModel, version
from engine.backends.gguf_probe import evaluate
from engine.backends.gguf_sampler import Sampler
from engine.backends.gguf_schedule import Run, Schedule
from engine.backends.hollow import Hollow, in_gguf
from engine.backends.marks import marks
from engine.backends.prefill import PrefillPace
from engine.backends.score import Evaluation, score
from engine.backends.template import ChatTemplate, closing
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
    TokenChance,
)


class GgufBackend:
    """A :class:`engine.backends.base.ModelBackend` over llama.cpp.

    All sequences share one cache of ``context`` cells, the memory the load was admitted for, so
    one request may use the whole context and several share it. A request joins when its prompt
    fits beside the others. Should they outgrow the cache together, the youngest gives its cells
    back, waits, and is read in again with what it had generated: slower, and nobody sees an error.
    What a finished request leaves in the cache stays there while nobody needs its cells, for
    prompts that begin alike.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.backend_version = version()
        self.device = "cpu"
        self._clock = clock
        self._model: NativeModel | None = None
        self._dialect = Dialect()
        self._grammars = Grammars(self._guide)
        self._schedule: Schedule | None = None
        """Who computes and who waits; made with the model."""
        self._news: list[StepEvent] = []
        """What the next step tells first."""
        self._pace = PrefillPace(BATCH)
        self._evaluation: Evaluation | None = None
        self._holes: Future[Hollow] | None = None
        self._path = Path()

    @property
    def _loaded(self) -> NativeModel:
        if self._model is None:
            raise RequestError("invalid", "no model is loaded")
        return self._model

    @property
    def _runs(self) -> Schedule:
        if self._schedule is None:
            raise RequestError("invalid", "no model is loaded")
        return self._schedule

    def load(self, spec: Load, on_progress: OnProgress) -> Loaded:
        """Load the model.

        Raises:
            LoadError: llama.cpp refused the file, or the load names impossible numbers.
        """
        if not 1 <= spec.slots <= MOST_SLOTS or spec.context < 1:
            raise LoadError(f"slots {spec.slots} (1 to {MOST_SLOTS}), context {spec.context}")
        self._path = Path(spec.path)

        def report(fraction: float) -> None:
            on_progress(fraction, "loading")
            if fraction >= 1:  # what is left is native and takes one core
                self._look_for_holes()

        model = NativeModel(
            spec.path,
            context=spec.context,
            slots=spec.slots,
            threads=spec.threads or compute_threads(),
            on_fraction=report,
        )
        self._model = model
        self._schedule = Schedule(
            Cells(model, pool=model.context, running=spec.slots, keep=model.kept), self._clock()
        )
        source = model.template
        bos, eos = model.text_of(model.bos), model.text_of(model.eos)
        self._dialect = Dialect(
            render=ChatTemplate(source, bos=bos, eos=eos).render if source else None,
            tool_format=tool_format(source, model.knows),
            thinking=thinking(source, model.knows),
        )
        model.show(marks(self._dialect.tool_format, self._dialect.thinking))
        return Loaded(
            context=model.context,
            vocabulary=model.vocabulary,
            chat=self._dialect.render is not None,
            tool_format=self._dialect.tool_format,
            thinking=self._dialect.thinking,
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
        prompt = self._dialect.prompt(request)
        tokens = model.tokens(prompt.text, special=True)
        refuse_length(len(tokens), model.context)
        refuse_bias(request.sampling.logit_bias, model.vocabulary)
        constraint = self._grammars.constrain(request.json_schema, after=prompt.inside)
        sampler = Sampler(
            request.sampling,
            prompt=tokens,
            never=model.ends if request.ignore_eos else (),
            vocabulary=model.vocabulary,
            context=model.context,
        )
        answer = Answer(request, len(tokens))
        self._runs.waiting.append(Run(request, tokens, sampler, answer, constraint))
        self._news.append(
            Started(id=request.id, prompt_tokens=len(tokens), thinking=prompt.thinking)
        )

    def step(self) -> list[StepEvent]:
        """Decode one batch and tell what came of it.

        Raises:
            RuntimeError: llama.cpp failed.
        """
        model, schedule = self._loaded, self._runs
        events, self._news = self._news, []
        for run in schedule.take_cancelled():
            self._finish(run, "cancelled", events)
        schedule.arrange()
        schedule.report_waiting(self._clock(), events)
        streams = sum(run.decoding for run in schedule.running)
        rows = schedule.fill(self._pace.budget(beside_streams=streams > 0))
        if not rows:
            return events
        started = self._clock()
        if not model.decode(rows):
            self._yield_cells(events)
            return events
        self._pace.measured(len(rows) - streams, self._clock() - started)
        for run in list(schedule.running):
            self._advance(model, run, events)
        return events

    def _yield_cells(self, events: list[StepEvent]) -> None:
        # Our own count says there is room, but a cache may need more than a cell per token.
        run = self._runs.yield_cells()
        if run is None:
            return
        self._runs.drop(run, keep=False)
        message = "llama.cpp found no room in its cache for this request"
        events.append(Failed(id=run.request.id, kind="internal", message=message))

    def _advance(self, model: NativeModel, run: Run, events: list[StepEvent]) -> None:
        reading = not run.decoding
        self._runs.computed(run)
        if reading and run.taken:
            done, total = run.fed, len(run.tokens)
            share = done / total
            events.append(
                Progress(id=run.request.id, stage="prefill", fraction=share, done=done, total=total)
            )
        if run.output < 0:
            return
        answer = run.answer
        token, told = self._draw(model, run)
        constraint = run.constraint
        if constraint is not None and constraint.trouble:
            self._runs.drop(run)
            events.append(Failed(id=run.request.id, kind="invalid", message=constraint.trouble))
            return
        if model.is_end(token):
            self._finish(run, "stop", events)
            return
        run.tokens.append(token)
        answer.add(model.piece(token), events, told)
        if answer.stopped or (constraint is not None and constraint.complete):
            self._finish(run, "stop", events)
        elif (
            answer.generated >= run.request.sampling.max_tokens or len(run.tokens) >= model.context
        ):
            self._finish(run, "length", events)

    @staticmethod
    def _draw(model: NativeModel, run: Run) -> tuple[int, TokenChance | None]:
        """The next token, and its chance where the request asked for it."""
        top, constraint = run.request.logprobs, run.constraint
        if top is None and constraint is None:
            if run.sampler.plain:
                return model.likeliest(run.output), None
            return run.sampler.draw(model.handle, run.output), None
        logits = model.logits(run.output)
        raw = logits
        if constraint is not None:
            allowed = constraint.allowed(model.vocabulary)
            if allowed is not None:
                raw = logits.copy() if top is not None else logits
                # The sampler reads the same memory, which the next decode writes anew.
                logits[~allowed] = -np.inf
        token = run.sampler.draw(model.handle, run.output)
        if constraint is not None:
            constraint.take(token)
        return token, None if top is None else chance(raw, token, top, model.spell)

    def _finish(self, run: Run, reason: Reason, events: list[StepEvent]) -> None:
        self._runs.drop(run)
        run.answer.end(reason, events)

    def cancel(self, request_id: str) -> None:
        """Mark a request; the next step ends it. Unknown ids are ignored."""
        if self._schedule is not None:
            self._schedule.cancel(request_id)

    def probe(self, question: Probe) -> Probed:
        """Answer one canary question on the probe's own sequence.

        Raises:
            RequestError: the template refused, or there is none.
            RuntimeError: llama.cpp failed.
        """
        model = self._loaded
        if question.name in ("template", "render"):
            text = self._dialect.renderer(question.messages)
            counts = {"characters": float(len(text))}
            counts["tokens"] = float(len(model.tokens(text, special=True)))
            if question.name == "template":
                counts |= self._ending(model, question.messages)
            trouble = "" if text else "nothing rendered"
            return Probed(
                id=question.id,
                name=question.name,
                ok=not trouble,
                detail=trouble,
                values=counts,
                text=text,
            )
        if question.name == "tokenizer":
            return self._round_trip(model, question)
        if self._evaluation is None or self._evaluation.text != question.text:
            self._evaluation = evaluate(model, question.text)
        return score(question, self._evaluation, self._look_for_holes().result())

    def _look_for_holes(self) -> "Future[Hollow]":
        """Begin to; a vocabulary takes as long to go over as some tokens do to be computed."""
        if self._holes is None:
            aside = ThreadPoolExecutor(1, "hollow")
            self._holes = aside.submit(in_gguf, self._path)
            aside.shutdown(wait=False)
        return self._holes

    def _ending(self, model: NativeModel, messages: tuple[Message, ...]) -> dict[str, float]:
        after = closing(self._dialect.render, messages)
        if after is None:
            return {}
        ends = any(model.is_end(token) for token in model.tokens(after, special=True))
        return {"ends": float(ends)}

    def _round_trip(self, model: NativeModel, question: Probe) -> Probed:
        tokens = model.tokens(question.text, special=False)
        back = model.detokenise(tokens)
        # Some tokenizers put a space before the first word; that is how they were trained.
        ok = back.lstrip(" ") == question.text.lstrip(" ")
        detail = "" if ok else f"{question.text[:60]!r} came back as {back[:60]!r}"
        counts = {"tokens": float(len(tokens))}
        return Probed(id=question.id, name=question.name, ok=ok, detail=detail, values=counts)

    @property
    def active(self) -> int:
        """Requests running or waiting."""
        return 0 if self._schedule is None else len(self._schedule)

    @property
    def queued(self) -> int:
        """Requests waiting for a sequence or for cells."""
        return 0 if self._schedule is None else len(self._schedule.waiting)

    def memory_bytes(self) -> int:
        """What the process holds."""
        return footprint.resident_bytes()

    def close(self) -> None:
        """Free the model."""
        for run in self._schedule or ():
            run.sampler.close()
        self._grammars.close()
        if self._model is not None:
            self._model.close()
            self._model = None
