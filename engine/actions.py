"""What is done to models on somebody's word: to one row by its id, to every copy of a model by the
plain one.

An action that carries the version it was decided on is about the row that was looked at, and only
that; see :mod:`engine.fleet.copies` for what a name means otherwise.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from engine.assembly import Rooms
from engine.caution import caution, unattended
from engine.errors import EngineError, unless_one_did
from engine.face import LoadOptions
from engine.fleet.copies import routable
from engine.lives.model import BLANK, Model, decided_on, not_ready
from engine.lives.roster import Roster
from engine.lives.standing import not_quarantined
from engine.readiness import LIVE, Cause
from engine.types import Readiness

Ids = tuple[str, ...]
Spawn = Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]


class Actions:
    """Loads, unloads, holds, releases and proves. Each says which rows it was done to.

    Args:
        spawn: Runs something in the background until it is done or the engine ends.
        asked_for: Told of every load: the model's id, and who asks.
        settle: Told of the family that somebody has decided on.
        stopping: Whether the engine is ending.
    """

    def __init__(
        self,
        rooms: Rooms,
        roster: Roster,
        spawn: Spawn,
        *,
        asked_for: Callable[[str, str], None],
        settle: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._services = rooms.services
        self._dispatch = rooms.dispatch
        self._intake = rooms.intake
        self._preload = rooms.preload
        self._roster = roster
        self._lives = roster.lives
        self._spawn = spawn
        self._asked_for = asked_for
        self._settle = settle
        self._stopping = stopping

    def _rows(self, name: str, expect: int | None) -> tuple[Model, ...]:
        """The rows an action is about. Raises EngineError: there are none, or it has changed."""
        row = self._dispatch.find(name)
        decided_on(row, expect)
        return self._services.copies.of(name) if expect is None else (row,)

    def _decide(self, rows: Iterable[Model]) -> None:
        """Nothing that was to be loaded of these by itself is loaded any more."""
        for family in {row.family for row in rows}:
            self._settle(family)
            self._preload.settle(family)

    # -- load and unload ------------------------------------------------------------------------

    async def load(
        self, name: str, options: LoadOptions, actor: str, expect: int | None, *, wait: bool
    ) -> Ids:
        """Admit and start loading; joining a load under way and loading what runs succeed.

        Of several copies it is refused only where all are, and with ``wait`` fails only so.
        """
        row = self._dispatch.find(name)
        decided_on(row, expect)
        rows: tuple[Model, ...] = (row,)
        if expect is None:
            rows = await self._dispatch.rows(name, options, actor=actor)
        self._settle(row.family)
        refused: list[BaseException] = []
        begun: list[Model] = []
        for copy in rows:
            try:
                await self.begin(copy, options, actor, expect)
                begun.append(copy)
            except EngineError as error:  # on its row, too; another copy may serve
                refused.append(error)
        unless_one_did(len(rows), refused)
        if not wait:
            return _ids(begun)
        ends = await asyncio.gather(
            *(self._roster.settled(row) for row in begun), return_exceptions=True
        )
        unless_one_did(len(begun), [error for error in ends if error is not None])
        return _ids(row for row, error in zip(begun, ends, strict=True) if error is None)

    async def begin(
        self, model: Model, options: LoadOptions, actor: str, expect: int | None = None
    ) -> None:
        """Admit one row and start loading it, where it is not live already."""
        self._asked_for(model.id, actor)
        async with model.lock:
            decided_on(model, expect)
            await self._roster.clear(model)
            if model.readiness not in LIVE:
                if options.unattended and (why := caution(model, self._services)):
                    raise EngineError(unattended(model, why))
                self._roster.begin(await self._intake.admit(model, options, actor, self._stopping))

    async def unload(self, name: str, actor: str, expect: int | None) -> Ids:
        """Drain and end the workers. Unloading what is unloaded changes nothing."""
        rows = self._rows(name, expect)
        self._decide(rows)
        ended = await asyncio.gather(*(self.end(row, actor) for row in rows))
        return _ids(row for row, was_live in zip(rows, ended, strict=True) if was_live)

    async def end(self, model: Model, actor: str) -> bool:
        """Drain and end one worker. Returns whether there was one.

        Of one that is not loaded the last refusal is forgotten, and the loss of its host.
        """
        async with model.lock:  # an admission under way comes to its end first
            life = self._lives.get(model.id)
        if life is not None:
            self._services.say("unload_begun", "draining", model_id=model.id, actor=actor)
            await life.unload(actor)
        elif model.view.refusal is not None or self._services.hosts.lost(model):
            model.change(refusal=None)
            if model.readiness is Readiness.UNLOADED:
                model.change(reason="")
        return life is not None

    # -- quarantine -----------------------------------------------------------------------------

    async def release(
        self, name: str, options: LoadOptions, actor: str, expect: int | None, *, early: bool
    ) -> Ids:
        """Let what is quarantined try again: gate, load, canary, probation.

        Of several copies each is tried; it is refused only where all are.
        """
        rows = self._rows(name, expect)
        self._decide(rows)
        caught = [row for row in rows if row.readiness is Readiness.QUARANTINED] or rows[:1]
        tried = await asyncio.gather(
            *(self._release(row, options, actor, expect, early=early) for row in caught),
            return_exceptions=True,
        )
        unless_one_did(len(tried), [error for error in tried if error is not None])
        return _ids(row for row, error in zip(caught, tried, strict=True) if error is None)

    async def _release(
        self, model: Model, options: LoadOptions, actor: str, expect: int | None, *, early: bool
    ) -> None:
        async with model.lock:
            decided_on(model, expect)
            await self._roster.clear(model)
            if model.readiness is not Readiness.QUARANTINED:
                raise EngineError(not_quarantined(model))
            decision = self._services.quarantine.release_check(model.key, model.id, early)
            if decision is not None:
                raise EngineError(decision)
            self._roster.begin(
                await self._intake.admit(
                    model, options, actor, self._stopping, release=True, early=early
                )
            )

    async def hold(self, name: str, actor: str, expect: int | None) -> Ids:
        """Quarantine by hand, until released. By the plain id the hold is also on copies that are
        not there yet: it is about the model."""
        rows = self._rows(name, expect)
        self._decide(rows)
        family = name if expect is None and rows[0].family == name else ""

        async def work() -> None:
            await asyncio.gather(*(self._hold(row, actor, expect, family) for row in rows))

        # A hold on record is carried through, whether or not who asked still listens.
        await asyncio.shield(self._spawn(work()))
        return _ids(rows)

    async def _hold(self, model: Model, actor: str, expect: int | None, family: str) -> None:
        services = self._services
        async with model.lock:
            decided_on(model, expect)
            if not model.fingerprint:
                quarters = services.hosts.of(model).quarters
                with suppress(EngineError):  # its host is gone; a hold is on the id
                    model.fingerprint = await quarters.fingerprint(model.entry)
            await asyncio.to_thread(services.quarantine.hold, model.id, actor=actor, family=family)
            services.say("model_held", "held", model_id=model.id, actor=actor, level="warn")
            life = self._lives.get(model.id)
            if life is None and model.readiness is not Readiness.QUARANTINED:
                why = f"held by {actor}"
                model.move(Readiness.QUARANTINED, Cause.HELD, actor, **BLANK, reason=why)
        if life is not None:
            await life.hold(actor)

    # -- the proof ------------------------------------------------------------------------------

    async def canary(self, name: str, actor: str, expect: int | None) -> Ids:
        """Run the canary again, in service, on what is routable."""
        rows = self._rows(name, expect)
        lives = [self._lives[row.id] for row in rows if routable(row) and row.id in self._lives]
        if not lives:
            raise EngineError(not_ready(rows[0].view))

        async def work() -> None:
            proofs = (life.prove_again(actor) for life in lives)
            for error in await asyncio.gather(*proofs, return_exceptions=True):
                if error is not None:  # only now: what was not waited for nobody would end
                    raise error

        # Its verdict counts, whether or not who asked still listens.
        await asyncio.shield(self._spawn(work()))
        return _ids(life.model for life in lives)


def _ids(rows: Iterable[Model]) -> Ids:
    return tuple(row.id for row in rows)
