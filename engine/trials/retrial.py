"""After an upgrade: the models of the old version proved again, one after another, in the
background, for as long as nobody wants the memory or the machine for something else."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from engine.errors import Code, EngineError, refuse
from engine.face import EngineFace
from engine.readiness import LIVE
from engine.services import Services
from engine.trials.trial import Outcome, Trial, Trials
from engine.types import ModelView

_WORDS = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.NEVER_TRIED: "not tried"}


class Retrial:
    """Runs at most one series of trials.

    Args:
        engine: What loads, proves and unloads.
        spawn: Runs something in the background until it is done or the engine ends.
    """

    def __init__(
        self,
        services: Services,
        engine: EngineFace,
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
    ) -> None:
        self._services = services
        self._engine = engine
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._actor = ""
        self._wanted = False
        """Somebody else has asked for the model under trial meanwhile."""
        self.models: tuple[str, ...] = ()
        """What is still to be proved, the model under trial first; empty while nothing runs."""

    def start(self, model_ids: Iterable[str], actor: str) -> None:
        """Begin with these models, in this order.

        Raises:
            EngineError: ``conflict``; it runs already, or none of them is outdated (any more).
        """
        outdated = self._engine.snapshot().outdated
        chosen = tuple(model_id for model_id in model_ids if model_id in outdated)
        if self._task is not None or not chosen:
            running = self._task is not None
            raise EngineError(
                refuse(
                    Code.CONFLICT,
                    "models are being proved again already"
                    if running
                    else "there is nothing to prove again",
                    expected="models whose verdicts are from another version, and no such run",
                    found=f"{len(self.models)} still to be proved" if running else "none",
                    remedy="wait for its end, or stop it" if running else "load one to prove it",
                )
            )
        self._leave(chosen)
        self._actor = f"{actor} (retrial)"
        task = self._task = self._spawn(self._run(chosen, actor))
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._task, self._actor = None, ""
        if not task.cancelled() and (error := task.exception()) is not None:
            text = f"proving again broke off: {type(error).__name__}: {error}"
            self._services.say("retrial_failed", text, level="error")
        self._leave(())

    def _leave(self, model_ids: tuple[str, ...]) -> None:
        self.models = model_ids
        self._services.board.changed()

    async def stop(self, actor: str) -> None:
        """End it; the model under trial is unloaded, or stays as it was before."""
        if (task := self._task) is not None:
            text = f"stopped proving again: {len(self.models)} left"
            self._services.say("retrial_stopped", text, actor=actor)
            task.cancel()
            await asyncio.wait({task})

    def asked_for(self, model_id: str, actor: str) -> None:
        """Somebody loads a model; is it the one under trial, it then stays."""
        if self.models[:1] == (model_id,) and actor != self._actor:
            self._wanted = True

    async def _run(self, model_ids: tuple[str, ...], actor: str) -> None:
        services = self._services
        count = len(model_ids)
        services.say(
            "retrial_started",
            f"proving {count} again, one after another: {', '.join(model_ids)}",
            actor=actor,
        )
        trials = Trials(
            self._engine,
            services.registry,
            actor=self._actor,
            slower_factor=services.settings.canary.slower_factor,
            keep=self._keep,
        )
        # No room is no failure: what a later unload makes room for is tried once more at the end.
        results: dict[str, Trial] = {}
        for again in (False, True):
            for model_id in model_ids:
                if again and not _no_room(results[model_id]):
                    continue
                trial = await self._prove(trials, model_id)
                if trial.code == Code.SHUTTING_DOWN:
                    return
                results[model_id] = trial
                later = (model_id,) if _no_room(trial) and not again else ()
                self._leave((*(m for m in self.models if m != model_id), *later))
                self._tell(trial, len(results), count)
        self._conclude(results, actor)

    async def _prove(self, trials: Trials, model_id: str) -> Trial:
        """One trial. A stop in the middle of it leaves no model loaded that was not before."""
        self._leave((model_id, *(m for m in self.models if m != model_id)))
        self._wanted = False
        before = self._engine.snapshot().model(model_id)
        live = before is not None and before.readiness in LIVE
        try:
            return await anext(trials.run((model_id,)))
        except asyncio.CancelledError:
            after = self._engine.snapshot().model(model_id)
            if not live and after is not None and after.readiness in LIVE and not self._keep(after):
                with suppress(EngineError):  # the engine ends, and unloads it itself
                    await self._engine.unload(model_id, actor=self._actor, expect=after.version)
            raise

    def _keep(self, view: ModelView) -> bool:
        """Whether a model that is proved now is in use and must not be unloaded."""
        return self._wanted or view.requests > 0

    def _tell(self, trial: Trial, number: int, count: int) -> None:
        speed = f", {trial.tokens_per_second:.1f} tok/s" if trial.tokens_per_second else ""
        slower = ", slower than before" if trial.slower else ""
        why = f": {trial.reason}" if trial.reason else ""
        self._services.say(
            "retrial_advanced",
            f"proved again {number} of {count}: {_WORDS[trial.outcome]}{speed}{slower}{why}",
            model_id=trial.model_id,
            actor=self._actor,
            level="warn" if trial.outcome is Outcome.FAILED else "info",
        )

    def _conclude(self, results: dict[str, Trial], actor: str) -> None:
        found = Counter(trial.outcome for trial in results.values())
        parts = [f"{found[outcome]} {word}" for outcome, word in _WORDS.items() if found[outcome]]
        if waiting := [model_id for model_id, trial in results.items() if _no_room(trial)]:
            parts.append(f"no room for {', '.join(waiting)}")
        failed = bool(found[Outcome.FAILED])
        text = f"proved again: {', '.join(parts)}"
        level = "warn" if failed or waiting else "info"
        self._services.say("retrial_ended", text, actor=actor, level=level)


def _no_room(trial: Trial) -> bool:
    return trial.code == Code.INSUFFICIENT_MEMORY
