"""Taking a model in: the gate's answer, the reservation, and the mission its life starts with."""

from collections import Counter
from collections.abc import Callable, Sequence

from engine.errors import Code, Decision, EngineError
from engine.face import LoadOptions
from engine.lives.aftermath import Mission
from engine.lives.gatehouse import Gatehouse
from engine.lives.lifecycle import Lifecycle
from engine.lives.model import Model, not_ready, shutting_down
from engine.lives.seating import advised, promised, seated
from engine.readiness import Cause
from engine.services import Services
from engine.types import Explanation, Key, Readiness
from engine.workers.placement import Post

_NOT_OF_THE_MODEL = (Code.MODEL_UNSTABLE, Code.INSUFFICIENT_MEMORY, Code.SHUTTING_DOWN)
"""Refusals that say nothing of how this content runs on this backend version."""


class Intake:
    """Admits models, or says why not."""

    def __init__(self, services: Services, gatehouse: Gatehouse) -> None:
        self._services = services
        self._gatehouse = gatehouse

    async def admit(
        self,
        model: Model,
        options: LoadOptions,
        actor: str,
        stopping: Callable[[], bool],
        *,
        release: bool = False,
        early: bool = False,
    ) -> Lifecycle:
        """Ask the gate and promise the memory; the caller starts the life it returns.

        Args:
            stopping: Whether the engine is ending, asked once more before anything is promised.
            release: The model comes out of quarantine, on probation.
            early: It does so before its cool-down is over; for the record.

        Raises:
            EngineError: refused; the model stays as it was and shows the refusal.
        """
        services, entry = self._services, model.entry
        host = services.hosts.of(model)
        quarters = host.quarters
        await host.reclaim.settled()  # rather wait than refuse for what is about to be free
        runtime = quarters.runtimes.choose(entry, options.runtime)
        taken = await quarters.fingerprint(entry)
        async with self._gatehouse.warming(model, options, release=release):
            explanation = await self._gatehouse.examine(
                model, options, release=release, print_of=taken
            )
            stamped = await quarters.stamp(entry)
        key = model.key_of(taken, runtime.version)
        decision, estimate = explanation.decision, explanation.estimate
        posts: tuple[Post, ...] = ()
        if decision is None and estimate is not None:
            posts = await seated(services, model, runtime, estimate, taken)
        # From here to the life's start nothing is waited for: an engine that ends, ends all lives.
        if decision is None and stopping():
            decision = shutting_down()
        if decision is None and estimate is not None:
            # The gate looked at the room a moment ago; only the reservation is binding.
            limit = quarters.device_limit(runtime)
            decision = promised(services, model, estimate, posts, limit)
        if decision is not None or estimate is None:
            decision = advised(services, model, options, decision or not_ready(model.view))
            raise await self._refusal(model, key, decision, actor)
        model.entry, model.runtime, model.fingerprint = entry, runtime, taken
        model.stamp = stamped
        if release:
            services.quarantine.begin_release(key, model.id)
        elif model.readiness is Readiness.QUARANTINED:
            # The gate asked: it is another runtime, or other files, that are quarantined.
            model.recall(Readiness.UNLOADED)
        services.intents.forgive(model.id)
        model.move(
            Readiness.ADMITTED,
            Cause.RELEASED if release else Cause.ADMITTED,
            actor,
            backend_version=runtime.version,
            runtime=runtime.name,
            refusal=None,
            unclean=False,
            reason="",
        )
        self._tell(model, options, explanation, posts, actor, release=release, early=early)
        keep_alive = services.settings.model.get(entry.plain)
        stated = keep_alive.keep_alive if keep_alive else None
        mission = Mission(
            actor=actor,
            context=estimate.context,
            estimate=estimate,
            override=options.allow_unsupported_runtime,
            release=release,
            keep_alive_s=options.keep_alive_s or (stated if isinstance(stated, float) else None),
            state_dir=quarters.state_dir,
            posts=posts,
        )
        return Lifecycle(model, services, mission)

    def _tell(
        self,
        model: Model,
        options: LoadOptions,
        explanation: Explanation,
        posts: Sequence[Post],
        actor: str,
        *,
        release: bool,
        early: bool,
    ) -> None:
        skipped = [check.check for check in explanation.checks if check.result.value == "skipped"]
        if options.allow_unsupported_runtime:
            kind, level = "override_used", "warn"
            text = "admitted with allow_unsupported_runtime"
        else:
            kind, level, text = "model_admitted", "info", "admitted"
        if release:
            text += ", released on probation" + (" before its cool-down was over" if early else "")
            kind = "model_released"
        ranks = explanation.estimate.ranks if explanation.estimate else 1
        if ranks > 1:
            text += f", split among {ranks} processes"
        if parts := Counter(post.host for post in posts):
            text += ": " + ", ".join(f"{count} on {name}" for name, count in parts.items())
        if options.reserve_gb is not None:
            text += f", {options.reserve_gb:g} GB stated"
        self._services.say(
            kind,
            text,
            model_id=model.id,
            actor=actor,
            level=level,
            data={
                "skipped": skipped,
                "reserve_gb": options.reserve_gb,
                "ranks": ranks,
                "early": early,
            },
        )

    async def _refusal(self, model: Model, key: Key, decision: Decision, actor: str) -> EngineError:
        model.change(refusal=decision)
        if model.readiness is not Readiness.QUARANTINED:
            model.change(reason=decision.code.value)
        self._services.say(
            "load_refused",
            f"refused: {decision.code.value} · {decision.message}",
            model_id=model.id,
            actor=actor,
            level="warn",
            data=decision.as_dict(),
        )
        if decision.code not in _NOT_OF_THE_MODEL:
            await self._services.write_down(
                key,
                model.id,
                "fail",
                f"{decision.code.value}: {decision.found}",
                "refusal",
                {"check": decision.check, "actor": actor},
            )
        return EngineError(decision)
