"""Loading at the start what the settings want loaded: one after another, trusted by nobody."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from engine.caution import caution
from engine.errors import Code, EngineError
from engine.fleet.copies import live
from engine.lives.model import Model
from engine.services import Services
from engine.text import clean_line
from engine.types import Readiness

ACTOR = "preload"
_ELSEWHERE = (Code.INSUFFICIENT_MEMORY, Code.MODEL_NOT_READY)
"""Refusals that say nothing of another host."""


class Preload:
    """Loads the models whose settings say ``preload``, in the order of the settings.

    One whose host has not joined yet is loaded when it appears; those after it do not wait.
    """

    def __init__(self, services: Services, load: Callable[[str], Awaitable[object]]) -> None:
        """Args:
        load: Loads a model through gate and canary; returns once it is routable.
        """
        self._services = services
        self._load = load
        self._wanted: dict[str, frozenset[str]] = {}
        """What is still to be loaded, in order, with the copies that were there at the last try."""
        self._appeared = asyncio.Event()

    def settle(self, family: str) -> None:
        """Somebody has decided on this model: it is not loaded by itself any more."""
        for name in tuple(self._wanted):
            if family in (name, *(copy.family for copy in self._services.copies.of(name))):
                del self._wanted[name]

    def look(self) -> None:
        """A host's models have joined the list, or the disk was looked at again."""
        self._appeared.set()

    async def run(self, patience_s: float) -> None:
        """Load them. A refusal is on its model's row and ends nothing but that load.

        Args:
            patience_s: How long a model may take to appear.
        """
        chosen = self._services.settings.model.items()
        self._wanted = {name: frozenset() for name, own in chosen if own.preload}
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience_s
        while self._wanted:
            patient = clock() < deadline
            due = next((name for name in self._wanted if not patient or self._new(name)), None)
            if due is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._appeared.wait()
                self._appeared.clear()
            elif not await self._try(due) and not patient:
                self._wanted.pop(due, None)

    def _new(self, name: str) -> frozenset[str]:
        """The copies that were not there at the last try."""
        there = frozenset(copy.id for copy in self._services.copies.of(name))
        return there - self._wanted.get(name, frozenset())

    async def _try(self, name: str) -> bool:
        """Load one, if it may be. Returns whether nothing more is to be done for it."""
        copies, new = self._services.copies.of(name), self._new(name)
        if copies and not new:
            return False
        # Asked one by one: the model before may have made a backend suspect.
        if why := self._obstacle(copies):
            text = f"not preloaded: {why}"
            self._services.say("preload_skipped", text, model_id=clean_line(name), level="warn")
            return self._done(name)
        self._wanted[name] |= new
        try:
            await self._load(name)
        except EngineError as error:
            if error.decision.code is Code.SHUTTING_DOWN:
                self._wanted.clear()
            return False if error.decision.code in _ELSEWHERE else self._done(name)
        own = self._services.settings.model[name]
        enough = len(live(self._services.copies.of(name))) >= own.replicas
        return self._done(name) if enough else False

    def _done(self, name: str) -> bool:
        self._wanted.pop(name, None)
        return True

    def _obstacle(self, copies: Sequence[Model]) -> str:
        """Why nobody but an operator may load any of these now, or empty."""
        if not copies:
            return "no model of this name was found"
        reasons = [self._why_not(copy) for copy in copies]
        return reasons[0] if all(reasons) else ""

    def _why_not(self, model: Model) -> str:
        if self._services.quarantine.held(model.id):
            return "an operator holds it"
        if model.readiness is Readiness.QUARANTINED:
            return f"quarantined: {model.view.reason}"
        return caution(model, self._services)
