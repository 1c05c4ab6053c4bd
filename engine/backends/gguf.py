"""The GGUF backend: continuous batching over llama.cpp's low-level API.

Every step is one ``llama_decode``: a token for each running stream and a bounded piece of the
prompts that are still being read.
"""

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.backends import footprint
from engine.backends.base import LoadError, OnProgress, RequestError, StepEvent
from engine.backends.cores import compute_threads
from engine.backends.gguf_native import BATCH, NativeModel, Row, version
from engine.backends.gguf_probe import evaluate
from engine.backends.gguf_sampler import Sampler
from engine.backends.hollow import Hollow, in_gguf
from engine.backends.prefill import PrefillPace
from engine.backends.score import Evaluation, score
from engine.backends.template import ChatTemplate, closing
from engine.backends.transcript import Transcript
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Generate,
    Load,
    Loaded,
    Message,
    Probe,
    Probed,
    Progress,
)

_HEADROOM = 64
"""Cells that must be free beyond a prompt before it joins others, so that it is not put back at
once."""
_SILENT_TOKENS = 8
"""After so many tokens without text (control tokens, a stop text held back) a delta goes out
anyway: the parent must see that the request lives."""
_QUEUED_S = 1.0
"""How often a waiting request says that it waits, for the same reason."""
_MOST_SLOTS = 255
"""llama.cpp's limit of 256 sequences, less the one for probes."""


@dataclass(slots=True, eq=False)
class _Run:
    """One request: waiting, reading its prompt or decoding."""

    request: Generate
    tokens: list[int]
    """The prompt and what was generated; those from ``fed`` on are not in the cache yet."""
    prompt_tokens: int
    sampler: Sampler
    transcript: Transcript
    sequence: int = -1
    fed: int = 0
    taken: int = 0
    """Tokens in the present batch."""
    output: int = -1
    """Position in the batch of its logits, or -1."""
    unsent: int = 0
    """Tokens drawn since the last delta."""
    cancelled: bool = False

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def decoding(self) -> bool:
        return self.generated > 0 and len(self.tokens) - self.fed == 1


@dataclass(slots=True)
class _Slots:
    """Who computes and who waits, in order of arrival."""

    free: list[int]
    running: list[_Run] = field(default_factory=list)
    waiting: collections.deque[_Run] = field(default_factory=collections.deque)


class GgufBackend:
    """A :class:`engine.backends.base.ModelBackend` over llama.cpp.

    All sequences share one cache of ``context`` cells, the memory the load was admitted for, so
    one request may use the whole context and several share it. A request joins when its prompt
    fits beside the others. Should they outgrow the cache together, the youngest gives its cells
    back, waits, and is read in again with what it had generated: slower, and nobody sees an error.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.backend_version = version()
        self.device = "cpu"
        self._clock = clock
        self._model: NativeModel | None = None
        self._template: ChatTemplate | None = None
        self._slots = _Slots([])
        self._pace = PrefillPace(BATCH)
        self._spoke = clock()
        self._evaluation: Evaluation | None = None
        self._holes: Hollow | None = None
        self._path = Path()

    @property
    def _loaded(self) -> NativeModel:
        if self._model is None:
            raise RequestError("invalid", "no model is loaded")
        return self._model

    def load(self, spec: Load, on_progress: OnProgress) -> Loaded:
        """Load the model.

        Raises:
            LoadError: llama.cpp refused the file, or the load names impossible numbers.
        """
        if not 1 <= spec.slots <= _MOST_SLOTS or spec.context < 1:
            raise LoadError(f"slots {spec.slots} (1 to {_MOST_SLOTS}), context {spec.context}")
        model = NativeModel(
            spec.path,
            context=spec.context,
            sequences=spec.slots,
            threads=spec.threads or compute_threads(),
            on_fraction=lambda fraction: on_progress(fraction, "loading"),
        )
        self._model, self._path = model, Path(spec.path)
        self._slots = _Slots(free=list(range(spec.slots)))
        source = model.template
        if source:
            bos, eos = model.text_of(model.bos), model.text_of(model.eos)
            self._template = ChatTemplate(source, bos=bos, eos=eos)
        return Loaded(
            context=model.context,
            vocabulary=model.vocabulary,
            chat=self._template is not None,
            memory_bytes=self.memory_bytes(),
        )

    def _render(self, messages: tuple[Message, ...]) -> str:
        if self._template is None:
            raise RequestError("template", "this model has no chat template: completions only")
        return self._template.render(messages)

    def submit(self, request: Generate) -> None:
        """Queue a request.

        Raises:
            RequestError: it has no prompt, does not fit the context, or cannot be rendered.
        """
        model = self._loaded
        if request.prompt is None and not request.messages:
            raise RequestError("invalid", "neither messages nor a prompt")
        text = self._render(request.messages) if request.prompt is None else request.prompt
        tokens = model.tokens(text, special=True)
        if not tokens:
            raise RequestError("invalid", "the prompt is empty")
        if len(tokens) >= model.context:
            raise RequestError(
                "context",
                f"prompt of {len(tokens):,} tokens plus at least one to answer; "
                f"the context is {model.context:,}",
            )
        sampler = Sampler(
            request.sampling,
            prompt=tokens,
            never=model.ends if request.ignore_eos else (),
            vocabulary=model.vocabulary,
            context=model.context,
        )
        transcript = Transcript(request.sampling.stop)
        self._slots.waiting.append(_Run(request, tokens, len(tokens), sampler, transcript))

    def step(self) -> list[StepEvent]:
        """Decode one batch and tell what came of it.

        Raises:
            RuntimeError: llama.cpp failed.
        """
        model = self._loaded
        events: list[StepEvent] = []
        self._end_cancelled(events)
        self._make_room(model)
        self._admit(model)
        self._report_waiting(events)
        rows = self._fill()
        if not rows:
            return events
        prompt_rows = len(rows) - sum(run.decoding for run in self._slots.running)
        started = self._clock()
        if not model.decode(rows):
            self._yield_cells(events)
            return events
        self._pace.measured(prompt_rows, self._clock() - started)
        for run in list(self._slots.running):
            self._advance(model, run, events)
        return events

    def _end_cancelled(self, events: list[StepEvent]) -> None:
        slots = self._slots
        for run in [run for run in (*slots.running, *slots.waiting) if run.cancelled]:
            self._finish(run, "cancelled", events)

    def _make_room(self, model: NativeModel) -> None:
        running = self._slots.running
        while len(running) > 1 and sum(len(run.tokens) for run in running) > model.context:
            self._put_back(running[-1])

    def _put_back(self, run: _Run) -> None:
        self._release(run)
        run.fed = 0
        self._slots.waiting.appendleft(run)

    def _admit(self, model: NativeModel) -> None:
        slots = self._slots
        while slots.waiting and slots.free:
            run = slots.waiting[0]
            held = sum(len(other.tokens) for other in slots.running)
            if slots.running and held + len(run.tokens) + _HEADROOM > model.context:
                return
            slots.waiting.popleft()
            run.sequence = slots.free.pop()
            slots.running.append(run)

    def _report_waiting(self, events: list[StepEvent]) -> None:
        now = self._clock()
        if now - self._spoke < _QUEUED_S:
            return
        self._spoke = now
        events.extend(Progress(id=run.request.id, stage="queued") for run in self._slots.waiting)

    def _fill(self) -> list[Row]:
        """The next batch: every stream's token first, then prompts in order of arrival."""
        running = self._slots.running
        streams = [run for run in running if run.decoding]
        budget = self._pace.budget(beside_streams=bool(streams))
        budget = min(budget, BATCH - len(streams))
        rows: list[Row] = []
        for run in (*streams, *(run for run in running if not run.decoding)):
            left = len(run.tokens) - run.fed
            run.taken = 1 if run.decoding else min(left, budget)
            budget -= 0 if run.decoding else run.taken
            rows.extend(
                Row(run.tokens[position], position, run.sequence, False)
                for position in range(run.fed, run.fed + run.taken)
            )
            run.output = -1
            if run.taken == left:
                run.output = len(rows) - 1
                rows[-1] = rows[-1]._replace(output=True)
        return rows

    def _yield_cells(self, events: list[StepEvent]) -> None:
        # Our own count says there is room, but a cache may need more than a cell per token.
        youngest = self._slots.running[-1]
        if len(self._slots.running) > 1:
            self._put_back(youngest)
            return
        self._drop(youngest)
        message = "llama.cpp found no room in its cache for this request"
        events.append(Failed(id=youngest.request.id, kind="internal", message=message))

    def _advance(self, model: NativeModel, run: _Run, events: list[StepEvent]) -> None:
        reading = not run.decoding
        run.fed += run.taken
        if reading and run.taken:
            done, total = run.fed, len(run.tokens)
            share = done / total
            events.append(
                Progress(id=run.request.id, stage="prefill", fraction=share, done=done, total=total)
            )
        if run.output < 0:
            return
        token = run.sampler.draw(model.handle, run.output)
        if model.is_end(token):
            self._finish(run, "stop", events)
            return
        run.tokens.append(token)
        run.unsent += 1
        text = run.transcript.push(model.piece(token))
        if text or run.unsent >= _SILENT_TOKENS:
            events.append(Delta(id=run.request.id, text=text, tokens=run.unsent))
            run.unsent = 0
        if run.transcript.stopped:
            self._finish(run, "stop", events)
        elif run.generated >= run.request.sampling.max_tokens or len(run.tokens) >= model.context:
            self._finish(run, "length", events)

    def _finish(self, run: _Run, reason: str, events: list[StepEvent]) -> None:
        self._drop(run)
        if reason != "cancelled" and (text := run.transcript.finish()):
            events.append(Delta(id=run.request.id, text=text, tokens=run.unsent))
        events.append(
            Finished.model_validate(
                {
                    "id": run.request.id,
                    "reason": "stop" if run.transcript.stopped else reason,
                    "prompt_tokens": run.prompt_tokens,
                    "completion_tokens": run.generated,
                }
            )
        )

    def _release(self, run: _Run) -> None:
        self._slots.running.remove(run)
        self._loaded.forget(run.sequence)
        self._slots.free.append(run.sequence)
        run.sequence = -1

    def _drop(self, run: _Run) -> None:
        if run.sequence >= 0:
            self._release(run)
        else:
            self._slots.waiting.remove(run)
        run.sampler.close()

    def cancel(self, request_id: str) -> None:
        """Mark a request; the next step ends it. Unknown ids are ignored."""
        for run in (*self._slots.running, *self._slots.waiting):
            if run.request.id == request_id:
                run.cancelled = True

    def probe(self, question: Probe) -> Probed:
        """Answer one canary question on the probe's own sequence.

        Raises:
            RequestError: the template refused, or there is none.
            RuntimeError: llama.cpp failed.
        """
        model = self._loaded
        if question.name in ("template", "render"):
            text = self._render(question.messages)
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
        return score(question, self._evaluation, self._hollow())

    def _hollow(self) -> Hollow:
        if self._holes is None:
            self._holes = in_gguf(self._path)
        return self._holes

    def _ending(self, model: NativeModel, messages: tuple[Message, ...]) -> dict[str, float]:
        if self._template is None:
            return {}
        after = closing(self._template.render, messages)
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
        return len(self._slots.running) + len(self._slots.waiting)

    @property
    def queued(self) -> int:
        """Requests waiting for a sequence or for cells."""
        return len(self._slots.waiting)

    def memory_bytes(self) -> int:
        """What the process holds."""
        return footprint.resident_bytes()

    def close(self) -> None:
        """Free the model."""
        for run in (*self._slots.running, *self._slots.waiting):
            run.sampler.close()
        if self._model is not None:
            self._model.close()
            self._model = None
