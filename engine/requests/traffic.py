"""The requests of one model: who goes next, who sent them, which of them saw it die."""

import asyncio
import contextlib
import time

from engine.errors import Code, Decision, EngineError, refuse
from engine.face import ChatEnd, Lane
from engine.lives.model import Model
from engine.requests.chat import LiveChat, death
from engine.requests.queue import FairQueue
from engine.requests.suspects import digest_of
from engine.services import Services
from engine.workers.exits import WorkerExit, classify_exit
from engine.workers.protocol import Generate, ProtocolError
from engine.workers.supervisor import Supervisor

_CANCEL_PATIENCE_S = 2.0
"""How long cancelled requests may take to end before their worker is ended under them."""
_AHEAD = 1
"""Requests a worker is given beyond its slots, so that none stands empty for a round trip."""


class Traffic:
    """Lets requests in, in fair order, and keeps account of them until each has ended."""

    def __init__(self, model: Model, services: Services) -> None:
        self._model = model
        self._services = services
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()
        self._intent = ""
        self._queue: FairQueue[LiveChat] = FairQueue()
        self._chats: dict[str, LiveChat] = {}
        self._begun: set[str] = set()
        self._letting_in = False
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
        self,
        worker: Supervisor,
        frame: Generate,
        client: str,
        *,
        lane: Lane,
        deadline_s: float,
        trusted: bool,
    ) -> LiveChat:
        """Hand a request to the worker, or let it wait for its turn.

        Args:
            deadline_s: How long the whole answer may take, waiting included.
            trusted: An operator's own test, who knows what he repeats: never suspect.

        Raises:
            EngineError: ``request_suspect`` or ``queue_full``.
            ProtocolError: too long to send.
        """
        digest = "" if trusted else digest_of(frame)
        if digest and (suspect := self._services.suspects.decision(self._model.id, digest)):
            raise EngineError(suspect)
        if len(self._queue) >= self._services.settings.queue:
            raise EngineError(self._full())
        self._idle.clear()
        self._model.change(idle_since=None)
        chat = LiveChat(
            self._model,
            worker,
            frame,
            client,
            lane=lane,
            deadline_s=deadline_s,
            on_end=self._ended,
            clock=self._services.clock,
            explain_death=self._death,
        )
        self._chats[frame.id] = chat
        if digest:
            self._digests[frame.id] = (digest, client)
        if len(self._begun) < self._room and not self._queue:
            self._start(chat)
        else:
            self._queue.push(chat, client, lane)
        self._note()
        return chat

    @property
    def _room(self) -> int:
        return self._services.settings.slots + _AHEAD

    def _full(self) -> Decision:
        waiting = len(self._queue)
        return refuse(
            Code.QUEUE_FULL,
            f"{waiting} requests already wait for {self._model.id}",
            retry_after_s=float(max(1, min(30, waiting // self._services.settings.slots))),
            expected=f"fewer than {self._services.settings.queue} waiting",
            found=f"{waiting} waiting",
            remedy="ask again later, or raise the setting queue",
        )

    def _start(self, chat: LiveChat) -> None:
        self._begun.add(chat.request_id)
        chat.begin()

    def _let_in(self) -> None:
        """Start whoever is next while there is room. A start may end at once and come back here,
        so this is a loop and never itself."""
        if self._letting_in:
            return
        self._letting_in = True
        try:
            while self._queue and len(self._begun) < self._room:
                with contextlib.suppress(ProtocolError):  # its own end has told its client
                    self._start(self._queue.pop())
        finally:
            self._letting_in = False

    def _death(self, end: WorkerExit, begun: bool) -> Decision:
        fault = classify_exit(end, loading=False)
        last = self._services.quarantine.last_chance(self._model.key)
        return death(self._model.id, end, fault, quarantines=last, begun=begun)

    def worker_died(self, end: WorkerExit) -> None:
        """Note who was there, and tell those who only waited for their turn; those in flight are
        told by the worker's own end. Called while every request in flight still is."""
        running = [r for r in self._model.requests.values() if r.id in self._begun]
        self.victims = tuple(
            f"{r.client}: {r.prompt_tokens} prompt, {r.generated} output tokens" for r in running
        )
        found = (self._digests.get(r.id) for r in running)
        self.suspected = dict(pair for pair in found if pair is not None)
        self._letting_in = True  # nobody takes the place of one who leaves: there is none
        try:
            while self._queue:
                self._queue.pop().bereave(end)
        finally:
            self._letting_in = False

    def cancel(self, request_id: str) -> None:
        """Cancel one request; an id nobody has changes nothing."""
        if (chat := self._chats.get(request_id)) is not None:
            chat.cancel()

    def rest(self) -> None:
        """Nobody asks anything; the keep-alive counts from here."""
        self._rested_at = time.monotonic()
        self._model.change(idle_since=self._services.clock())

    def hurry(self) -> None:
        """Whoever drains waits no longer."""
        self._hurry.set()

    async def drain(self, drain_s: float) -> None:
        """Let requests finish for ``drain_s`` seconds or until :meth:`hurry`, then cancel them."""
        if self._idle.is_set():
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._idle, self._hurry)]
        await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for chat in tuple(self._chats.values()):
            chat.cancel()
        if not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), min(_CANCEL_PATIENCE_S, drain_s))

    def _ended(self, chat: LiveChat, end: ChatEnd) -> None:
        del self._chats[chat.request_id]
        self._digests.pop(chat.request_id, None)
        if chat.begun:
            self._begun.discard(chat.request_id)
        else:
            self._queue.remove(chat, chat.client, chat.lane)
        if not self._chats:
            self._idle.set()
            self.rest()
        if end.tokens_per_second:
            self._model.change(tokens_per_second=end.tokens_per_second)
        if end.reason in ("stop", "length"):
            self._services.tell(self._services.quarantine.good(self._model.key))
        self._services.clients.ended(chat.client, end)
        self._services.performance.ended(self._model.id, end)
        self._let_in()
        self._note()

    def _note(self) -> None:
        lines = [
            f"{self._digests.get(chat.request_id, ('', ''))[0]} {chat.asker}".strip()
            for chat in self._chats.values()
            if chat.request_id in self._begun
        ]
        self._services.intents.update(self._intent, requests=lines)
