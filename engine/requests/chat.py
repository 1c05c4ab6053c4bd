"""One request on its way through a worker: deltas out, one end, nothing left behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from engine.errors import Code, Decision, refuse
from engine.face import Chance, ChatDelta, ChatEnd, Lane
from engine.lives.model import Model
from engine.text import clean_line
from engine.types import RequestView
from engine.workers.exits import Fault, WorkerExit
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    Generate,
    Progress,
    ProtocolError,
    Started,
    TokenChance,
)
from engine.workers.supervisor import STOPPED, Answer, Supervisor

_FAILED = {
    "context": Code.CONTEXT_LENGTH_EXCEEDED,
    "invalid": Code.INVALID_REQUEST,
    "template": Code.INVALID_REQUEST,
}
_EXPECTED = {
    "context": "a prompt that fits the context",
    "invalid": "a request this model can run",
    "template": "messages the model's chat template accepts",
}
_REMEDIES = {
    "context": "shorten the conversation, or load the model with a longer context",
    "invalid": "mend the request",
    "template": "change the roles or the order of the messages",
}


def failure(failed: Failed) -> Decision:
    """What a request is told that its model could not run and that did it no harm."""
    return refuse(
        _FAILED.get(failed.kind, Code.UNKNOWN_FAILURE),
        clean_line(failed.message),
        check="request",
        expected=_EXPECTED.get(failed.kind, "an answer"),
        found=clean_line(failed.message),
        remedy=_REMEDIES.get(failed.kind, "see the model's log"),
        param="messages",
    )


def death(
    model_id: str, end: WorkerExit, fault: Fault, *, quarantines: bool, begun: bool = True
) -> Decision:
    """What a request is told when its worker ended under it.

    Args:
        quarantines: This is the strike that quarantines the model.
        begun: Whether the worker had the request; one that waited saw nothing of its death.
    """
    if end.killed_for == STOPPED:
        return refuse(
            Code.SHUTTING_DOWN,
            f"{model_id} was unloaded before this request was done",
            retry_after_s=5.0,
            expected="an answer",
            found="ended by the engine",
            remedy="ask again once it is routable",
        )
    # Python's stack, with the paths of this machine, is evidence for the operator: no client's.
    words = fault.detail
    found = f"{end.cause}; last words: {words}" if words else f"{end.cause}; no last words"
    if end.host_lost:
        return refuse(
            Code.MODEL_UNSTABLE,
            f"{model_id} ended under this request: {end.host_lost}",
            retryable=True,
            retry_after_s=5.0,
            expected="an answer",
            found=end.host_lost,
            remedy="ask again: it is loaded on another host that can hold it",
        )
    if fault.environment:
        return refuse(
            fault.code,
            f"{model_id} was ended under this request: {fault.cause}",
            expected="an answer",
            found=fault.detail or found,
            remedy="make room, then load it again",
        )
    moment = "under this request" if begun else "while this request waited"
    told = f"{model_id} died {moment}: {end.cause}"
    if quarantines:
        return refuse(
            Code.MODEL_UNSTABLE,
            f"{told}, and is quarantined",
            retryable=False,
            expected="an answer",
            found=found,
            remedy="look at its evidence; it may be released after its cool-down",
        )
    return refuse(
        Code.MODEL_UNSTABLE,
        told,
        retryable=True,
        retry_after_s=5.0,
        expected="an answer",
        found=found,
        remedy="ask again once it is routable: it restarts by itself and must pass its canary",
    )


def _chance(token: TokenChance) -> Chance:
    top = tuple(Chance(other.text, other.bytes, other.logprob) for other in token.top)
    return Chance(token.text, token.bytes, token.logprob, top)


class LiveChat:
    """A request as its client sees it, waiting or running. Its account is kept as answers arrive,
    whether or not anybody iterates.

    Args:
        deadline_s: How long the whole answer may take, waiting included.
        on_end: Called once with this request and its end, before any client sees it.
        explain_death: Says what the worker's end means to a request; told whether it had begun.
    """

    def __init__(
        self,
        model: Model,
        worker: Supervisor,
        frame: Generate,
        client: str,
        *,
        lane: Lane,
        deadline_s: float,
        on_end: "Callable[[LiveChat, ChatEnd], None]",
        clock: Callable[[], float],
        explain_death: Callable[[WorkerExit, bool], Decision],
    ) -> None:
        self.frame = frame
        self.client = client
        self.lane = lane
        self.begun = False
        """Whether the worker has it."""
        self._model = model
        self._worker = worker
        self._on_end = on_end
        self._deadline_s = deadline_s
        self._explain_death = explain_death
        self._started = time.monotonic()
        self._first = self._last = 0.0
        self._ended = False
        self.thinking = False
        """Whether the answer begins inside the model's thinking; known by its first delta."""
        self._items: asyncio.Queue[ChatDelta | ChatEnd] = asyncio.Queue()
        self.asker = clean_line(client, limit=80)
        """The client as it is shown."""
        self._began_at = clock()
        self._phase = "queued"
        self._prompt_tokens = self._prefilled = self._generated = 0
        model.track(frame.id, self._look)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(deadline_s, self._overdue)

    def begin(self) -> None:
        """Hand it to the worker, unless it has ended meanwhile.

        Raises:
            ProtocolError: it is too long to send; it has ended as if it had never come.
        """
        if self._ended:
            return
        self.begun = True
        try:
            self._worker.generate(self.frame, self._receive)
        except ProtocolError:
            self._end(ChatEnd("error"))
            raise

    @property
    def model_id(self) -> str:
        """Which model answers; an alias may have been asked."""
        return self._model.id

    @property
    def request_id(self) -> str:
        """The request's id, as the requests screen shows it."""
        return self.frame.id

    def cancel(self) -> None:
        """End it within one step of the backend; at once while it waits."""
        if self.begun:
            self._worker.cancel(self.request_id)
        elif not self._ended:
            self._end(ChatEnd("cancelled"))

    def _overdue(self) -> None:
        limit = self._deadline_s
        where = "while it waited for its turn" if not self.begun else "before its answer was whole"
        decision = refuse(
            Code.DEADLINE_EXCEEDED,
            f"the request's {limit:g} s passed {where}",
            expected=f"an answer within {limit:g} s",
            found=f"{self._generated} tokens so far",
            remedy="ask for fewer tokens, allow more time, or ask when the model is less busy",
        )
        if self.begun:
            self._worker.cancel(self.request_id)
        self._fail(decision)

    async def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        try:
            while True:
                item = await self._items.get()
                yield item
                if isinstance(item, ChatEnd):
                    return
        finally:
            if not self._ended:
                self.cancel()  # nobody listens any more: free the slot

    def _receive(self, answer: Answer) -> None:
        if self._ended:
            return
        match answer:
            case Delta():
                self._last = time.monotonic()
                self._first = self._first or self._last
                self._phase, self._prefilled = "decode", self._prompt_tokens
                self._generated += answer.tokens
                chances = tuple(map(_chance, answer.chances))
                self._items.put_nowait(ChatDelta(answer.text, answer.tokens, chances))
                self._model.advance()
            case Started():
                self.thinking = answer.thinking
                self._read(0, answer.prompt_tokens)
            case Progress(stage="queued"):
                self._phase = "queued"  # the worker has it and no room for it yet
                self._model.advance()
            case Progress():
                self._read(answer.done, answer.total)
            case Finished():
                count, span = answer.completion_tokens, self._last - self._first
                self._end(
                    ChatEnd(
                        answer.reason,
                        prompt_tokens=answer.prompt_tokens,
                        completion_tokens=count,
                        cached_tokens=answer.cached_tokens,
                        ttft_ms=(self._first - self._started) * 1000 if self._first else None,
                        tokens_per_second=(count - 1) / span if count > 1 and span > 0 else None,
                    )
                )
            case Failed():
                self._fail(failure(answer))
            case WorkerExit():
                self._fail(self._explain_death(answer, True))

    def bereave(self, end: WorkerExit) -> None:
        """The worker has died while this one waited for its turn."""
        if not self._ended:
            self._fail(self._explain_death(end, False))

    def _fail(self, decision: Decision) -> None:
        self._end(ChatEnd("error", completion_tokens=self._generated, decision=decision))

    def _end(self, end: ChatEnd) -> None:
        self._ended = True
        self._deadline.cancel()
        self._model.forget(self.request_id)
        self._on_end(self, end)
        self._items.put_nowait(end)

    def _read(self, done: int, total: int) -> None:
        """So much of the prompt has been read."""
        self._phase, self._prefilled, self._prompt_tokens = "prefill", done, total
        self._model.advance()

    def _look(self) -> RequestView:
        return RequestView(
            id=self.request_id,
            model_id=self._model.id,
            client=self.asker,
            phase=self._phase,
            prompt_tokens=self._prompt_tokens,
            prefilled=self._prefilled,
            generated=self._generated,
            started_at=self._began_at,
        )
