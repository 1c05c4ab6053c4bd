"""One request on its way through a worker: deltas out, one end, nothing left behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from engine.errors import Code, Decision, refuse
from engine.face import ChatDelta, ChatEnd
from engine.model import Model
from engine.text import clean_line
from engine.types import RequestView
from engine.workers.exits import WorkerExit
from engine.workers.protocol import Delta, Failed, Finished, Generate, Progress
from engine.workers.supervisor import Answer, Supervisor

_FAILED = {
    "context": Code.CONTEXT_LENGTH_EXCEEDED,
    "invalid": Code.INVALID_REQUEST,
    "template": Code.INVALID_REQUEST,
}


def death(model_id: str, end: WorkerExit) -> Decision:
    """What a request is told when its worker died under it."""
    words = clean_line(" | ".join(end.last_words.splitlines()[-3:]), limit=400)
    return refuse(
        Code.MODEL_UNSTABLE,
        f"{model_id} died under this request: {end.cause}",
        retryable=True,
        retry_after_s=5.0,
        expected="an answer",
        found=f"{end.cause}; last words: {words}" if words else f"{end.cause}; no last words",
        remedy="ask again once it is routable: it restarts by itself and must pass its canary",
    )


class LiveChat:
    """A running request as its client sees it. Submitted when made; iterate it to the end."""

    def __init__(
        self,
        model: Model,
        worker: Supervisor,
        frame: Generate,
        client: str,
        on_end: Callable[[str, ChatEnd], None],
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._worker = worker
        self._on_end = on_end
        self._started = time.monotonic()
        self._view = RequestView(
            id=frame.id,
            model_id=model.id,
            client=clean_line(client, limit=80),
            phase="queued",
            prompt_tokens=0,
            prefilled=0,
            generated=0,
            started_at=clock(),
        )
        model.track(self._view)
        self._ended = False
        self._queue: asyncio.Queue[Answer] = worker.generate(frame)

    @property
    def request_id(self) -> str:
        """The request's id, as the requests screen shows it."""
        return self._view.id

    def cancel(self) -> None:
        """End it within one step of the backend."""
        self._worker.cancel(self.request_id)

    def abandon(self) -> None:
        """Nobody listens any more: free the slot and forget the request."""
        if not self._ended:
            self.cancel()
            self._end(ChatEnd("cancelled"))

    def _end(self, end: ChatEnd) -> ChatEnd:
        if not self._ended:
            self._ended = True
            self._model.forget(self.request_id)
            self._on_end(self.request_id, end)
        return end

    async def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        first = last = 0.0
        tokens = 0
        try:
            while True:
                match await self._queue.get():
                    case Progress() as progress:
                        self._track("prefill", progress.total, progress.done, tokens)
                    case Delta() as delta:
                        last = time.monotonic()
                        first = first or last
                        tokens += delta.tokens
                        self._track("decode", self._view.prompt_tokens, None, tokens)
                        yield ChatDelta(delta.text, delta.tokens)
                    case Finished() as finished:
                        count, span = finished.completion_tokens, last - first
                        yield self._end(
                            ChatEnd(
                                finished.reason,
                                prompt_tokens=finished.prompt_tokens,
                                completion_tokens=count,
                                ttft_ms=(first - self._started) * 1000 if first else None,
                                tokens_per_second=(count - 1) / span if span > 0 else None,
                            )
                        )
                        return
                    case Failed() as failed:
                        code = _FAILED.get(failed.kind, Code.UNKNOWN_FAILURE)
                        message = clean_line(failed.message)
                        yield self._end(ChatEnd("error", decision=refuse(code, message)))
                        return
                    case WorkerExit() as end:
                        decision = death(self._model.id, end)
                        yield self._end(
                            ChatEnd("error", completion_tokens=tokens, decision=decision)
                        )
                        return
        finally:
            self.abandon()

    def _track(self, phase: str, prompt: int, prefilled: int | None, generated: int) -> None:
        self._view = replace(
            self._view,
            phase=phase,
            prompt_tokens=prompt,
            prefilled=prompt if prefilled is None else prefilled,
            generated=generated,
        )
        self._model.track(self._view)
