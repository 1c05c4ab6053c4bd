"""The requests in flight on one model: who sent them, whether any are left, which saw it die."""

import asyncio
import contextlib
import time

from engine.chat import LiveChat, death
from engine.errors import Decision, EngineError
from engine.face import ChatEnd
from engine.model import Model
from engine.services import Services
from engine.suspects import digest_of
from engine.workers.exits import WorkerExit, classify_exit
from engine.workers.protocol import Generate
from engine.workers.supervisor import Supervisor

_CANCEL_PATIENCE_S = 2.0
"""How long cancelled requests may take to end before their worker is ended under them."""


class Traffic:
    """Submits requests and keeps account of them until each has ended."""

    def __init__(self, model: Model, services: Services) -> None:
        self._model = model
        self._services = services
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()
        self._intent = ""
        self._digests: dict[str, tuple[str, str]] = {}
        self._rested_at = time.monotonic()
        self.victims: tuple[str, ...] = ()
        """One line for each request that was in flight at the last death."""
        self.suspected: dict[str, str] = {}
        """Of those, the client by digest; an operator's own test is not among them."""

    @property
    def idle_s(self) -> float:
        """How long nobody has asked anything, in seconds; 0 while somebody does."""
        return time.monotonic() - self._rested_at if self._idle.is_set() else 0.0

    def begin(self, intent: str) -> None:
        """A worker serves from here on, under this intent."""
        self._intent = intent
        self.victims, self.suspected = (), {}
        self.rest()

    def submit(
        self, worker: Supervisor, frame: Generate, client: str, *, trusted: bool
    ) -> LiveChat:
        """Hand a request to the worker.

        Args:
            trusted: An operator's own test, who knows what he repeats: never suspect.

        Raises:
            EngineError: ``request_suspect``.
            ProtocolError: too long to send.
        """
        digest = "" if trusted else digest_of(frame)
        if digest:
            if (suspect := self._services.suspects.decision(self._model.id, digest)) is not None:
                raise EngineError(suspect)
            self._digests[frame.id] = (digest, client)
        self._idle.clear()
        self._model.change(idle_since=None)
        try:
            chat = LiveChat(
                self._model, worker, frame, client, self._ended, self._services.clock, self._death
            )
        except BaseException:
            self._ended(frame.id, ChatEnd("error"))
            raise
        self._note()
        return chat

    def _death(self, end: WorkerExit) -> Decision:
        fault = classify_exit(end, loading=False)
        last = self._services.quarantine.last_chance(self._model.key)
        return death(self._model.id, end, fault, quarantines=last)

    def note_victims(self) -> None:
        """The worker has died; called while every request in flight still is."""
        self.victims = tuple(
            f"{r.client}: {r.prompt_tokens} prompt, {r.generated} output tokens"
            for r in self._model.requests.values()
        )
        self.suspected = dict(self._digests.values())

    def rest(self) -> None:
        """Nobody asks anything; the keep-alive counts from here."""
        self._rested_at = time.monotonic()
        self._model.change(idle_since=self._services.clock())

    def hurry(self) -> None:
        """Whoever drains waits no longer."""
        self._hurry.set()

    async def drain(self, worker: Supervisor | None, drain_s: float) -> None:
        """Let requests finish for ``drain_s`` seconds or until :meth:`hurry`, then cancel them."""
        if self._idle.is_set():
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._idle, self._hurry)]
        await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if worker is not None:
            for request_id in tuple(self._model.requests):
                worker.cancel(request_id)
        if not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), min(_CANCEL_PATIENCE_S, drain_s))

    def _ended(self, request_id: str, end: ChatEnd) -> None:
        self._digests.pop(request_id, None)
        if not self._model.requests:
            self._idle.set()
            self.rest()
        if end.tokens_per_second:
            self._model.change(tokens_per_second=end.tokens_per_second)
        if end.reason in ("stop", "length"):
            self._services.tell(self._services.quarantine.good(self._model.key))
        self._note()

    def _note(self) -> None:
        lines = [
            f"{self._digests.get(r.id, ('', ''))[0]} {r.client}".strip()
            for r in self._model.requests.values()
        ]
        self._services.intents.update(self._intent, requests=lines)
