"""Proving many models in a row on one runtime, and what came of each.

One model at a time, each unloaded before the next; what is in service stays in service. Written
against the engine's face, so that a command and a console can both run it.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from engine.errors import Code, Decision, EngineError
from engine.face import EngineFace, LoadOptions
from engine.readiness import LIVE
from engine.types import ModelView, Readiness, RegistryRow

_NEVER_TRIED = frozenset(
    {Code.INSUFFICIENT_MEMORY, Code.SHUTTING_DOWN, Code.CONFLICT, Code.MODEL_NOT_READY}
)
"""Ends on the way that say nothing about the model: no room, or somebody unloaded it."""


class Ledger(Protocol):
    """The registry of the engine's home, opened by a command or by the engine itself."""

    def rows(
        self, model_id: str | None, backend: str | None, outcome: str | None, /
    ) -> tuple[RegistryRow, ...]:
        """The rows that fit every given filter, newest first."""
        ...


class Outcome(StrEnum):
    """What came of one model's trial."""

    PASSED = "passed"
    FAILED = "failed"
    NEVER_TRIED = "never_tried"


@dataclass(frozen=True, slots=True)
class Trial:
    """One model's trial."""

    model_id: str
    outcome: Outcome
    backend: str = ""
    runtime: str = ""
    backend_version: str = ""
    reason: str = ""
    """Why it failed or was never tried; empty for a pass."""
    code: str | None = None
    tokens_per_second: float | None = None
    before: float | None = None
    """Tokens per second of the newest earlier pass, on another version where there is one."""
    before_version: str = ""
    slower: bool = False
    """It passed, and much slower than before (the canary's ``slower_factor``)."""
    seconds: float = 0.0


class Trials:
    """Proves models, one after another.

    Args:
        engine: A started engine.
        archive: The registry of the same home.
        keep: Whether a model that was loaded for its trial stays after it; asked once it is over.
        actor: Who asks.
        runtime: The runtime to prove them on; None means each model's own.
        slower_factor: A pass at less than this share of the speed before counts as slower.
        clock: Seconds that only ever rise.
    """

    def __init__(
        self,
        engine: EngineFace,
        archive: Ledger,
        *,
        actor: str,
        runtime: str | None = None,
        slower_factor: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        keep: Callable[[ModelView], bool] = lambda _: False,
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._actor = actor
        self._runtime = runtime
        self._slower_factor = slower_factor
        self._clock = clock
        self._keep = keep

    def every_model(self) -> tuple[str, ...]:
        """The ids of all models the runtime is for, sorted."""
        snapshot = self._engine.snapshot()
        backends = {r.backend for r in snapshot.runtimes if self._runtime in (None, r.name)}
        return tuple(model.id for model in snapshot.models if model.backend in backends)

    async def run(
        self, model_ids: Iterable[str], *, spare_unclean: bool = True
    ) -> AsyncIterator[Trial]:
        """Prove these models in this order; each is told as it ends.

        Args:
            spare_unclean: Leave out what was loaded when the machine went down: nobody has named
                it, and a load may take the machine down again.
        """
        for model_id in model_ids:
            view = self._engine.snapshot().model(model_id)
            if spare_unclean and view is not None and view.unclean:
                yield self._never(view, "the machine went down while it was loaded")
            else:
                yield await self.prove(model_id)

    async def prove(self, model_id: str) -> Trial:
        """Prove one model. Never raises EngineError: a refusal is an outcome."""
        before = self._engine.snapshot().model(model_id)
        began = self._clock()
        if before is None:
            why = "no model of this name; `lmx models` lists them"
            return Trial(model_id, Outcome.NEVER_TRIED, reason=why, code=Code.MODEL_NOT_FOUND)
        live = before.readiness in LIVE
        if live and self._runtime not in (None, before.runtime):
            return self._never(before, f"in service on runtime {before.runtime}")
        if live and before.readiness is not Readiness.ROUTABLE:
            return self._never(before, f"it is {before.readiness.value}")
        decision: Decision | None = None
        try:
            # Of this very model, not of every copy of it, nor of the one that has the most room.
            if live:
                await self._engine.canary(model_id, actor=self._actor, expect=before.version)
            else:
                options = LoadOptions(runtime=self._runtime)
                await self._engine.load(
                    model_id,
                    options,
                    actor=self._actor,
                    expect=before.version,
                    wait=True,
                )
        except EngineError as error:
            decision = error.decision
        after = self._engine.snapshot().model(model_id) or before
        if not live and after.readiness in LIVE and not self._keep(after):
            await self._engine.unload(model_id, actor=self._actor, expect=after.version)
        took = self._clock() - began
        if decision is None and after.readiness is Readiness.ROUTABLE:
            return self._passed(after, took)
        return self._not_passed(before, after, decision, took)

    def _passed(self, view: ModelView, took: float) -> Trial:
        speed = view.canary.tokens_per_second if view.canary else None
        rows = [
            row
            for row in self._archive.rows(view.id, view.backend.value, "pass")
            if row.metadata.get("event") == "canary" and not row.metadata.get("origin")
        ]
        last = _last(rows, view.backend_version)
        before = _speed(last)
        return Trial(
            view.id,
            Outcome.PASSED,
            view.backend.value,
            view.runtime,
            view.backend_version,
            tokens_per_second=speed,
            before=before,
            before_version=last.backend_version if last and before else "",
            slower=bool(speed and before and speed < before * self._slower_factor),
            seconds=took,
        )

    def _not_passed(
        self, before: ModelView, after: ModelView, decision: Decision | None, took: float
    ) -> Trial:
        # Without a transition it was refused at the gate: a quarantine, an old verdict, no room.
        tried = after.version != before.version or before.readiness is Readiness.ROUTABLE
        never = not tried or (decision is not None and decision.code in _NEVER_TRIED)
        decision = decision or after.refusal
        words = decision.message if decision else after.reason
        if decision is not None and tried:
            if decision.code is Code.MODEL_UNSTABLE:
                words = after.reason or words
            elif decision.found and decision.found not in words:
                words += f": {decision.found}"
        return Trial(
            before.id,
            Outcome.NEVER_TRIED if never else Outcome.FAILED,
            before.backend.value,
            *self._runtime_of(before),
            reason=words,
            code=decision.code.value if decision else None,
            seconds=took,
        )

    def _never(self, view: ModelView, why: str) -> Trial:
        return Trial(
            view.id,
            Outcome.NEVER_TRIED,
            view.backend.value,
            *self._runtime_of(view),
            reason=why,
        )

    def _runtime_of(self, view: ModelView) -> tuple[str, str]:
        """The runtime a model is to be proved on, and its version."""
        name = self._runtime or view.runtime
        if name == view.runtime or view.simulated:
            return name, view.backend_version
        runtimes = self._engine.snapshot().runtimes
        found = (r.version for r in runtimes if (r.name, r.backend) == (name, view.backend))
        return name, next(found, "")


def _last(rows: list[RegistryRow], version: str) -> RegistryRow | None:
    """What a pass is compared with: the newest pass of the same content before this one.

    Args:
        rows: Passes, newest first; the first is this one.
        version: Of this one; a pass on another version is preferred.
    """
    content = rows[0].metadata.get("fingerprint") if rows else None
    earlier = [row for row in rows[1:] if row.metadata.get("fingerprint") == content]
    elsewhere = [row for row in earlier if row.backend_version != version]
    return next(iter(elsewhere or earlier), None)


def _speed(row: RegistryRow | None) -> float | None:
    speed = row.metadata.get("tokens_per_second") if row else None
    return float(speed) if isinstance(speed, int | float) else None
