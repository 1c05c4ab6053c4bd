"""Asks the gate about a model, on the model's own host, with what this engine knows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from engine.errors import EngineError
from engine.face import LoadOptions
from engine.fleet.quarters import Known, Standing, versions
from engine.lives.model import Model
from engine.lives.seating import elsewhere
from engine.services import Services
from engine.types import Explanation, Key, Readiness, RegistryRow


class Gatehouse:
    """Where the ledger meets the files."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def examine(
        self, model: Model, options: LoadOptions, *, release: bool = False, print_of: str = ""
    ) -> Explanation:
        """Run the gate on one model.

        Args:
            release: The operator releases it from quarantine: the registry check is skipped.
            print_of: The fingerprint, where the caller has just taken it.
        """
        quarters = self._services.hosts.of(model).quarters
        taken = print_of or await quarters.fingerprint(model.entry)
        known = self._known(model, options, taken)
        return await quarters.examine(model.entry, options, known, release=release, print_of=taken)

    @contextlib.asynccontextmanager
    async def warming(
        self, model: Model, options: LoadOptions, *, release: bool
    ) -> AsyncIterator[None]:
        """Have the model's files read ahead while the gate works, unless it is quarantined.

        Not while the fingerprint is taken: its samples would queue behind (39 to 85 ms for the
        starter on a cold cache). It pays where the gate takes long: a runtime that is asked about
        an architecture for the first time imports its backend, which takes seconds.

        Nobody waits for it, its failure is nobody's, and it ends with the gate's answer: what was
        refused is read no further, and what was admitted its worker reads itself.
        """
        if model.readiness is Readiness.QUARANTINED and not release:
            yield
            return
        task = asyncio.create_task(self._warm(model, options), name=f"warm-{model.id}")
        try:
            yield
        finally:
            task.cancel()

    async def _warm(self, model: Model, options: LoadOptions) -> None:
        quarters = self._services.hosts.of(model).quarters
        with contextlib.suppress(EngineError, OSError):
            await quarters.warm(model.entry, options, self._room(model, options, {}))

    async def probe(self, model: Model, options: LoadOptions) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""
        quarters = self._services.hosts.of(model).quarters
        taken = await quarters.fingerprint(model.entry)
        known = self._known(model, options, taken)
        return await quarters.probe(model.entry, options, known, print_of=taken)

    def _known(self, model: Model, options: LoadOptions, print_of: str) -> Known:
        services = self._services
        host = services.hosts.of(model)
        # Of a runtime that is not there no version is known; a hold stands all the same.
        standings = {"": Standing(services.quarantine.decision(None, model.id))}
        for version in versions(host.quarters.runtimes, model.entry):
            key = model.key_of(print_of, version)
            standings[version] = Standing(
                quarantined=services.quarantine.decision(key, model.id),
                verdict=_about(key, services.registry.verdict(key)),
            )
        return self._room(model, options, standings)

    def _room(self, model: Model, options: LoadOptions, standings: Mapping[str, Standing]) -> Known:
        host = self._services.hosts.of(model)
        view = host.budget.view()
        return Known(
            budget=host.budget.total,
            reserved=view.reserved,
            lost=host.budget.lost,
            available=view.available,
            elsewhere=elsewhere(self._services, model, options),
            standings=standings,
        )


def _about(key: Key, row: RegistryRow | None) -> RegistryRow | None:
    """A verdict as it bears on one host: inodes and times of another host's files say nothing of
    whether these were touched since."""
    if row is None or row.metadata.get("host", "") == key.host:
        return row
    return replace(row, metadata={**row.metadata, "stamp": ""})
