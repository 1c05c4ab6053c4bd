"""The models this engine knows: what a scan found, put on the board as its history left it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.catalog.fingerprint import fingerprint
from engine.catalog.scan import Catalog, scan
from engine.errors import EngineError
from engine.examiner import Examiner
from engine.lives.model import Model, unknown
from engine.readiness import LIVE
from engine.services import Services
from engine.types import Backend, Readiness
from engine.workers.placement import Spawn


class Inventory:
    """Keeps the board's models in step with the disk."""

    def __init__(
        self, services: Services, examiner: Examiner, on_move: Callable[[Model], None]
    ) -> None:
        self._services = services
        self._examiner = examiner
        self._on_move = on_move
        self._catalog = Catalog()

    @property
    def spawns(self) -> frozenset[Spawn]:
        """The kinds of worker a load of some model on disk would want, simulated ones aside."""
        return frozenset(kind for kind in self._kinds() if kind.backend is not Backend.SIMULATED)

    def find(self, model_id: str) -> Model:
        """The model of this id.

        Raises:
            EngineError: ``model_not_found``.
        """
        models = self._services.board.models
        if (model := models.get(model_id)) is not None:
            return model
        raise EngineError(unknown(model_id, len(models)))

    def rest(self, model: Model) -> None:
        """A model has ended. Its runtime was that load's choice; the row tells of the next one."""
        if model.readiness is Readiness.UNLOADED:
            model.replace_entry(model.entry, self._examiner.runtime(model.entry))
            if self._services.quarantine.keys(model.id) and model.fingerprint:
                self._judge(model)
            self._services.spares.keep_only(self._kinds())

    def _kinds(self) -> frozenset[Spawn]:
        models = self._services.board.models.values()
        return frozenset(
            Spawn(model.entry.backend, Path(model.runtime.python), model.runtime.name)
            for model in models
            if not model.runtime.error
        )

    def judge_leftovers(self) -> None:
        """Intents nobody ended: a machine that went down, or only a console that was killed."""
        unclean, noted = self._services.intents.leftovers()
        for intent in unclean:
            text = "the machine went down while it was loaded; load it yourself if you trust it"
            self._services.say("unclean_end", text, model_id=intent.model_id, level="warn")
        for intent in noted:
            text = "the console ended without unloading it"
            self._services.say("worker_orphaned", text, model_id=intent.model_id)

    async def rescan(self) -> None:
        """Look at the disk again; what is live keeps its row."""
        services = self._services
        self._catalog = await asyncio.to_thread(scan, services.settings)
        models = services.board.models
        for entry in self._catalog.entries:
            runtime = self._examiner.runtime(entry)
            if (model := models.get(entry.id)) is None:
                models[entry.id] = Model(
                    entry,
                    runtime,
                    services.board.changed,
                    clock=services.clock,
                    strike_limit=services.settings.quarantining.strikes,
                    on_move=self._on_move,
                )
            elif _at_rest(model):
                model.replace_entry(entry, runtime)
            if (own := services.settings.model.get(entry.id)) is not None:
                sampling = own.sampling.model_dump(exclude_none=True)
                models[entry.id].change(sampling=sampling)
        known = self._catalog.by_id
        for gone in [m.id for m in models.values() if m.id not in known]:
            if _at_rest(models[gone]):
                del models[gone]
        await self._recall()
        for problem in self._catalog.problems:
            services.say("folder_unreadable", problem, level="warn")
        services.board.changed()

    async def _recall(self) -> None:
        """Put models that are quarantined, held or came to an unclean end where they belong, and
        take those out whose files or backend version are no longer what was quarantined. Strikes
        that still stand are shown too: the next one may be the last."""
        quarantine = self._services.quarantine
        known = {view.model_id for view in quarantine.views()} | quarantine.struck()
        for model in tuple(self._services.board.models.values()):
            if _at_rest(model) and (model.id in known or model.readiness is _QUARANTINED):
                taken = await asyncio.to_thread(fingerprint, model.entry)
                if _at_rest(model):
                    model.fingerprint = taken
                    self._judge(model)
            if self._services.intents.unclean(model.id) is not None and _at_rest(model):
                why = "unclean end: the machine went down while it was loaded"
                model.change(unclean=True, reason=why)

    def _judge(self, model: Model) -> None:
        quarantine = self._services.quarantine
        decision = quarantine.decision(model.key, model.id)
        count, evidence = quarantine.strikes(model.key), quarantine.evidence(model.key)
        last = evidence[-1] if evidence else None
        if decision is not None:
            model.recall(_QUARANTINED, strikes=count, reason=decision.found, evidence=last)
        elif model.readiness is _QUARANTINED:
            why = "was quarantined with other files or on another backend version"
            model.recall(Readiness.UNLOADED, strikes=count, reason=why, refusal=None)
        else:
            model.change(strikes=count, evidence=last if count else model.view.evidence)


_QUARANTINED = Readiness.QUARANTINED


def _at_rest(model: Model) -> bool:
    """Whether nothing goes on with a model: it is not live, and no action decides on it."""
    return model.readiness not in LIVE and not model.lock.locked()
