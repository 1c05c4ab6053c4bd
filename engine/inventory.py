"""The models this engine knows: what a scan found, put on the board as its history left it."""

import asyncio
from collections.abc import Callable

from engine.catalog.fingerprint import fingerprint
from engine.catalog.scan import Catalog, scan
from engine.errors import Code, EngineError, refuse
from engine.examiner import Examiner
from engine.model import Model
from engine.readiness import LIVE
from engine.services import Services
from engine.text import clean_line
from engine.types import Backend, Readiness


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
    def backends(self) -> frozenset[Backend]:
        """The backends some model on disk needs."""
        return frozenset(entry.backend for entry in self._catalog.entries)

    def find(self, model_id: str) -> Model:
        """The model of this id.

        Raises:
            EngineError: ``model_not_found``.
        """
        models = self._services.board.models
        if (model := models.get(model_id)) is not None:
            return model
        raise EngineError(
            refuse(
                Code.MODEL_NOT_FOUND,
                f"no model named {clean_line(model_id, limit=120)!r}",
                expected="an id of the catalog",
                found=f"{len(models)} models, none of this name",
                remedy="see `lmx models`, or rescan after a download",
            )
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
            elif model.readiness not in LIVE:
                model.replace_entry(entry, runtime)
        known = self._catalog.by_id
        for gone in [m.id for m in models.values() if m.id not in known]:
            if models[gone].readiness not in LIVE:
                del models[gone]
        await self._recall()
        for problem in self._catalog.problems:
            services.say("folder_unreadable", problem, level="warn")
        services.board.changed()

    async def _recall(self) -> None:
        """Put models that are quarantined, held or came to an unclean end where they belong."""
        quarantine, intents = self._services.quarantine, self._services.intents
        known = {view.model_id for view in quarantine.views()}
        for model in tuple(self._services.board.models.values()):
            if model.readiness is not Readiness.UNLOADED:
                continue
            if intents.unclean(model.id) is not None:
                model.change(reason="unclean end: the machine went down while it was loaded")
            if model.id not in known:
                continue
            model.fingerprint = await asyncio.to_thread(fingerprint, model.entry)
            decision = quarantine.decision(model.key, model.id)
            if decision is None:
                model.change(reason="was quarantined with other files or another backend version")
                continue
            evidence = quarantine.evidence(model.key)
            model.recall(
                quarantine.strikes(model.key), decision.found, evidence[-1] if evidence else None
            )
