"""The models this engine knows: what a scan found, put on the board as its history left it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import Catalog
from engine.errors import EngineError
from engine.fleet.copies import alike
from engine.fleet.host import Host
from engine.lives.model import Model
from engine.readiness import LIVE
from engine.services import Services
from engine.types import Backend, HostState, Readiness
from engine.workers.placement import Spawn


class Inventory:
    """Keeps the board's models in step with the disks."""

    def __init__(self, services: Services, on_move: Callable[[Model], None]) -> None:
        self._services = services
        self._on_move = on_move

    def prepare_spares(self, host: Host) -> None:
        """Have a worker ready for every kind that a load of some model of a host would want,
        simulated ones aside."""
        for spawn in self._kinds(host):
            if spawn.backend is not Backend.SIMULATED:
                host.spares.prepare(spawn)

    def rest(self, model: Model) -> None:
        """A model has ended. Its runtime was that load's choice; the row tells of the next one."""
        host = self._services.hosts.of(model)
        if model.readiness is Readiness.UNLOADED:
            model.replace_entry(model.entry, host.quarters.runtimes.choose(model.entry))
            if self._services.quarantine.keys(model.id) and model.fingerprint:
                self._judge(model)
            host.spares.keep_only(self._kinds(host))

    def _kinds(self, host: Host) -> frozenset[Spawn]:
        return frozenset(
            Spawn(model.entry.backend, Path(model.runtime.python), model.runtime.name)
            for model in self._models(host)
            if not model.runtime.error
        )

    def _models(self, host: Host) -> tuple[Model, ...]:
        models = self._services.board.models.values()
        return tuple(model for model in models if model.place.host == host.name)

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
        """Look at the disks again; what is live keeps its row."""
        services = self._services
        hosts = tuple(host for host in services.hosts if host.state is not HostState.LOST)
        # All at once; taken in one by one, the own host first.
        scans = [asyncio.ensure_future(host.quarters.scan()) for host in hosts]
        await asyncio.wait(scans)
        for host, scanned in zip(hosts, scans, strict=True):
            with suppress(EngineError):  # a host that is lost meanwhile keeps its rows
                self._take_in(host, scanned.result())
        await self._recall()
        services.board.changed()

    async def look_at(self, host: Host) -> None:
        """Look at one host's disk."""
        self._take_in(host, await host.quarters.scan())
        await self._recall()
        self._services.board.changed()

    def _take_in(self, host: Host, catalog: Catalog) -> None:
        """Bring one host's rows in step with what it has."""
        models = self._services.board.models
        known = set()
        for entry in catalog.entries:
            model = self._row(host, entry)
            known.add(model.id)
            if (own := self._services.settings.model.get(entry.id)) is not None:
                model.change(sampling=own.sampling.model_dump(exclude_none=True))
        for gone in self._models(host):
            if gone.id not in known and _at_rest(gone):
                del models[gone.id]
                self._services.copies.remove(gone)
        for problem in catalog.problems:
            text = problem if host.own else f"on {host.name}: {problem}"
            self._services.say("folder_unreadable", text, level="warn")

    def _row(self, host: Host, entry: CatalogEntry) -> Model:
        services = self._services
        models, runtime = services.board.models, host.quarters.runtimes.choose(entry)
        plain = entry.id
        model_id = services.copies.id_for(plain, host.place)
        if model_id != plain:
            entry = replace(entry, id=model_id, own_id=plain)
        model = models.get(model_id)
        if model is None:
            model = models[model_id] = Model(
                entry,
                runtime,
                services.board.changed,
                clock=services.clock,
                strike_limit=services.settings.quarantining.strikes,
                on_move=self._on_move,
                place=host.place,
                family=plain,
            )
            services.copies.add(model)
        elif _at_rest(model):
            model.place = host.place
            before = model.entry
            model.replace_entry(entry, runtime)
            if not alike(before, entry):
                services.copies.regroup(plain)
        return model

    async def _recall(self) -> None:
        """Put models that are quarantined, held or came to an unclean end where they belong, and
        take those out whose files or backend version are no longer what was quarantined. Strikes
        that still stand are shown too: the next one may be the last."""
        quarantine = self._services.quarantine
        models = tuple(self._services.board.models.values())
        for model in filter(_at_rest, models):  # a copy that is new here, or has become one
            quarantine.inherit(model.id, model.family)
        known = {view.model_id for view in quarantine.views()} | quarantine.struck()
        for model in models:
            if _at_rest(model) and (model.id in known or model.readiness is _QUARANTINED):
                quarters = self._services.hosts.of(model).quarters
                with suppress(EngineError):  # its host is gone; it is judged when it is back
                    taken = await quarters.fingerprint(model.entry)
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
