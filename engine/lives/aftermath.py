"""What follows a failure: evidence kept, the fault counted, the readiness moved, the row written.

Policy is the quarantine's; this is where its answer becomes a state, an event and a registry row.
State moves before anything is awaited, so that an unload in between meets the truth; the disk is
waited for off the loop, and before the model is started again.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from engine.canary import Verdict
from engine.errors import Code, Decision, refuse
from engine.home.statefile import Suspicion
from engine.ledger.record import evidence_dict
from engine.lives.model import BLANK, Model, not_ready
from engine.readiness import LIVE, Cause
from engine.services import Services
from engine.text import clean_line
from engine.types import Evidence, MemoryEstimate, Readiness, StepResult
from engine.workers.exits import Fault, WorkerExit
from engine.workers.placement import Post
from engine.workers.protocol import Loaded

_EVIDENCE_TAIL = 4000
"""Characters of standard error kept with one failure."""
_REMEDIES = {
    Code.INSUFFICIENT_MEMORY: "unload another model or choose a shorter context, then load again",
    Code.MODEL_INCOMPLETE: "download or convert the model again",
    Code.MODEL_UNSUPPORTED_ARCH: "upgrade the backend to a version that knows it",
    Code.MODEL_UNSUPPORTED_BACKEND: "upgrade the backend, or convert the model to a format it runs",
}

_OVERRIDDEN = (Code.MODEL_UNSUPPORTED_ARCH, Code.MODEL_UNSUPPORTED_BACKEND)


@dataclass(frozen=True, slots=True)
class Mission:
    """What a load was told: by whom, with which room, under which conditions."""

    actor: str
    context: int
    estimate: MemoryEstimate
    override: bool
    release: bool
    keep_alive_s: float | None
    state_dir: Path
    posts: tuple[Post, ...] = ()
    """One for each rank, where they are on several hosts."""

    @property
    def here(self) -> int:
        """Bytes promised on the model's own host."""
        first = sum(post.host == self.posts[0].host for post in self.posts)
        return first * self.estimate.per_rank if self.posts else self.estimate.total

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Files and state folder of each rank, where they are on several hosts."""
        return tuple((post.path, post.state_dir) for post in self.posts)


class Aftermath:
    """Deals with one live model's failures."""

    def __init__(self, model: Model, services: Services, mission: Mission) -> None:
        self._model = model
        self._services = services
        self._mission = mission
        self._evidence: Evidence | None = None

    def keep_evidence(
        self, end: WorkerExit | None, cause: str, detail: str, tail: str, requests: tuple[str, ...]
    ) -> Evidence:
        """Keep what was seen of a failure, in the view and for the quarantine."""
        view = self._model.view
        evidence = Evidence(
            id=self._services.new_id(),
            at=self._services.clock(),
            model_id=view.id,
            cause=clean_line(cause, limit=80),
            phase=view.readiness.value,
            detail=clean_line(detail, limit=400),
            signal=end.signal if end else None,
            exit_code=end.status if end and end.status >= 0 else None,
            stderr_tail=tail[-_EVIDENCE_TAIL:],
            requests=requests,
            backend=view.backend.value,
            backend_version=view.backend_version,
        )
        self._evidence = evidence
        self._model.change(evidence=evidence)
        return evidence

    def _seen(self, fault: Fault) -> Evidence:
        """The evidence of the failure at hand; made of the fault where no worker left any."""
        evidence, self._evidence = self._evidence, None
        return evidence or self.keep_evidence(None, fault.cause, fault.detail, "", ())

    # -- as it should go ------------------------------------------------------------------------

    def begin(self, pid: int) -> None:
        """A worker was started for it."""
        model, mission = self._model, self._mission
        model.change(pid=pid, progress=None, stage="starting", retry_at=None, canary=None)
        if model.readiness is not Readiness.ADMITTED:
            return  # a restart: it is loading already
        model.move(
            Readiness.LOADING,
            Cause.STARTED,
            "engine",
            context=mission.context,
            estimate=mission.estimate,
            ranks=mission.estimate.ranks,
            override=mission.override,
            probation=mission.release,
        )
        self._services.say("model_loading", "admitted → loading", model_id=model.id)

    def loaded(self, loaded: Loaded) -> None:
        """The worker holds the model."""
        self._model.move(
            Readiness.CANARY_PENDING,
            Cause.LOADED,
            "engine",
            progress=None,
            stage="",
            chat=loaded.chat,
            tool_format=clean_line(loaded.tool_format, limit=40),
            thinking=loaded.thinking,
            buildable=False,
            context=loaded.context,
            measured_bytes=loaded.memory_bytes or None,
        )
        self._services.say("model_loaded", "loading → canary_pending", model_id=self._model.id)

    def proved(self, verdict: Verdict) -> None:
        """Every required canary step passed."""
        speed = verdict.tokens_per_second
        self._model.move(
            Readiness.ROUTABLE, Cause.PROVED, "engine", tokens_per_second=speed, reason=""
        )
        self._services.say("model_proved", "canary_pending → routable", model_id=self._model.id)

    def unload(self, actor: str) -> None:
        """Its life was ended: unloaded, or back to quarantine where it had not proved itself."""
        model, quarantine = self._model, self._services.quarantine
        if model.readiness not in LIVE:
            return  # it ended by itself meanwhile
        if quarantine.put_back(model.key):
            self._relapse("unloaded before its probation was over", actor)
        elif (decision := quarantine.decision(model.key, model.id)) is not None:
            # A hold, or the last strike, fell while it was being ended.
            cause = Cause.HELD if quarantine.held(model.id) else Cause.STRUCK_OUT
            model.move(Readiness.QUARANTINED, cause, "engine", **BLANK, reason=decision.found)
        else:
            model.move(Readiness.UNLOADED, Cause.UNLOADED, actor, **BLANK, reason="")
            self._services.say("model_unloaded", "unloaded", model_id=model.id, actor=actor)

    def hold(self, actor: str) -> None:
        """An operator holds it; said and kept already."""
        model = self._model
        if model.readiness is not Readiness.QUARANTINED:
            why = f"held by {actor}"
            model.move(Readiness.QUARANTINED, Cause.HELD, actor, **BLANK, reason=why)

    # -- as it should not -----------------------------------------------------------------------

    def give_up(self, error: BaseException) -> Decision:
        """The engine itself failed at this model: say so and let go of it."""
        model, services = self._model, self._services
        what = clean_line(f"{type(error).__name__}: {error}", limit=300)
        decision = refuse(
            Code.UNKNOWN_FAILURE,
            f"the engine failed at {model.id}: {what}",
            check="engine",
            expected="no such error",
            found=what,
            remedy="load it again; if it comes back, report it with events.jsonl",
        )
        if model.readiness in LIVE:
            released = services.quarantine.put_back(model.key)
            reason = decision.code.value
            model.fall(Cause.UNLOADED, released=released, refusal=decision, reason=reason)
        services.say("engine_failed", decision.message, model_id=model.id, level="error")
        return decision

    async def fail_canary(self, verdict: Verdict) -> Decision:
        """A required step failed: quarantined at once, with the row that says why."""
        model, services = self._model, self._services
        if model.readiness is Readiness.QUARANTINED:
            return not_ready(model.view)  # another canary, or an operator, was first
        failed = (s for s in verdict.steps if s.result is StepResult.FAIL)
        step = next(failed, verdict.steps[-1])
        evidence = self.keep_evidence(None, f"canary: {step.name}", verdict.reason, "", ())
        decision = refuse(
            Code.MODEL_CANARY_FAILED,
            f"{model.id} loaded but did not prove itself: {verdict.reason}",
            check=step.name,
            expected="every required canary step passes",
            found=step.detail,
            remedy="see its evidence; repair or replace the model's files, then release it",
            evidence_id=evidence.id,
        )
        services.quarantine.canary_failed(model.key, model.id, evidence)
        model.move(
            Readiness.QUARANTINED,
            Cause.CANARY_FAILED,
            "engine",
            **BLANK,
            refusal=decision,
            reason=f"canary failed: {verdict.reason}",
        )
        text = f"quarantined: canary failed at {verdict.reason}"
        services.say(
            "model_quarantined", text, model_id=model.id, level="error", data=decision.as_dict()
        )
        await asyncio.to_thread(services.quarantine.flush)
        await self.write_canary(verdict, self._mission.actor, evidence)
        return decision

    async def write_canary(
        self, verdict: Verdict, actor: str, evidence: Evidence | None = None
    ) -> None:
        """Append the run's row to the registry, with the evidence of a failure."""
        model, speed = self._model, verdict.tokens_per_second
        seconds = sum(step.ms or 0.0 for step in verdict.steps) / 1000
        self._services.performance.proved(model.id, passed=verdict.passed, seconds=seconds)
        await self._services.write_down(
            model.key,
            model.id,
            "pass" if verdict.passed else "fail",
            verdict.reason + (f", {speed:.1f} tok/s" if speed else ""),
            "canary",
            {
                "runtime": model.runtime.name,
                "actor": actor,
                "override": self._mission.override,
                "stamp": model.stamp,
                "ttft_ms": verdict.ttft_ms,
                "tokens_per_second": speed,
                "ranks": self._mission.estimate.ranks,
                "estimate_bytes": self._mission.estimate.total,
                "measured_bytes": model.view.measured_bytes,
                "steps": {s.name: [s.result.value, s.ms] for s in verdict.steps},
            }
            | ({"evidence": evidence_dict(evidence)} if evidence else {}),
        )

    async def strike(self, fault: Fault, window_s: float) -> tuple[float, Decision | None]:
        """Count a death against the model.

        Args:
            window_s: The strikes' window in seconds.

        Returns:
            The back-off before its restart in seconds, and the quarantine's Decision when this
            was one strike too many, else None.
        """
        model, services = self._model, self._services
        evidence = self._seen(fault)
        on_probation = services.quarantine.on_probation(model.key)
        out = services.quarantine.strike(model.key, model.id, evidence, window_s=window_s)
        strikes = services.quarantine.strikes(model.key)
        decision = services.quarantine.decision(model.key, model.id) if out else None
        wait_s = self._back_off_s(strikes)
        where = "on probation" if on_probation else f"after {strikes} strikes"
        if decision is not None:
            reason = f"crash_loop:{strikes} {fault.cause}"
            model.move(
                Readiness.QUARANTINED,
                Cause.STRUCK_OUT,
                "engine",
                **BLANK,
                strikes=strikes,
                reason=f"{fault.cause} {where}",
                refusal=None,
            )
            kind, text = "model_quarantined", f"quarantined {where}: {fault.cause}"
        else:
            reason = f"{fault.cause} ({evidence.phase})"
            self._wait(fault, wait_s, strikes)
            kind = "worker_died"
            text = f"worker died: {fault.cause}; strike {strikes}; restarts in {wait_s:g} s"
        services.say(
            kind,
            text,
            model_id=model.id,
            level="error",
            data={"evidence_id": evidence.id, "signal": evidence.signal, "code": fault.code.value},
        )
        await asyncio.to_thread(services.quarantine.flush)
        await services.write_down(
            model.key,
            model.id,
            "fail",
            reason,
            "quarantine" if decision else "strike",
            {
                "evidence": evidence_dict(evidence),
                "override": self._mission.override,
                "stamp": model.stamp,
            },
        )
        return wait_s, decision

    async def charge(self, fault: Fault, suspicions: tuple[Suspicion, ...]) -> float:
        """A death under a request that saw one before: the request's fault, not the model's.

        Returns the back-off before the model's restart in seconds.
        """
        model, services = self._model, self._services
        evidence = self._seen(fault)
        wait_s = self._back_off_s(1)
        self._wait(fault, wait_s, services.quarantine.strikes(model.key))
        clients = ", ".join(sorted({suspicion.client for suspicion in suspicions}))
        reason = f"request_suspect: {fault.cause} under a request of {clients}"
        services.say("request_suspected", reason, model_id=model.id, level="error")
        await services.write_down(
            model.key,
            model.id,
            "fail",
            reason,
            "environment",
            {"evidence": evidence_dict(evidence), "digests": [s.digest for s in suspicions]},
        )
        return wait_s

    def _back_off_s(self, strikes: int) -> float:
        waits = self._services.settings.quarantining.backoff_s
        return waits[min(max(strikes, 1), len(waits)) - 1]

    def _wait(self, fault: Fault, wait_s: float, strikes: int) -> None:
        self._model.move(
            Readiness.LOADING,
            Cause.DIED,
            "engine",
            strikes=strikes,
            stage="waiting",
            progress=None,
            retry_at=self._services.clock() + wait_s,
            reason=fault.cause,
        )

    async def leave(self, fault: Fault) -> Decision:
        """An environment fault or a clear refusal at load: unloaded, no strike, reason shown."""
        model, services = self._model, self._services
        evidence = self._seen(fault)
        overridden = self._mission.override and fault.code in _OVERRIDDEN
        what = "refused by the backend itself" if overridden else "unloaded"
        decision = refuse(
            fault.code,
            f"{model.id} was {what}: {fault.detail or fault.cause}",
            check="load",
            expected="the backend loads and runs it",
            found=fault.detail,
            remedy=_REMEDIES.get(fault.code, "see its evidence for the worker's last words"),
            evidence_id=evidence.id,
        )
        # It was loaded in spite of the gate, and the backend said the same: no override helps.
        decision = replace(decision, overridable=decision.overridable and not overridden)
        released = services.quarantine.put_back(model.key)
        model.fall(released=released, refusal=decision, reason=fault.cause)
        services.say(
            "model_quarantined" if released else "model_unloaded",
            decision.message,
            model_id=model.id,
            level="error",
            data=decision.as_dict(),
        )
        memory = fault.code is Code.INSUFFICIENT_MEMORY
        await services.write_down(
            model.key,
            model.id,
            "fail",
            f"{fault.cause}: {fault.detail}" if fault.detail else fault.cause,
            "environment" if memory else "refusal",
            {"evidence": evidence_dict(evidence)},
        )
        return decision

    def unload_changed(self) -> None:
        """The files are no longer those that were admitted: unloaded until asked for again."""
        why = "its files changed; load it again"
        if self._services.quarantine.put_back(self._model.key):
            self._relapse(why, "engine")
            return
        self._model.move(Readiness.UNLOADED, Cause.ENVIRONMENT, "engine", **BLANK, reason=why)
        self._services.say("model_unloaded", why, model_id=self._model.id, level="warn")

    def _relapse(self, why: str, actor: str) -> None:
        """A release that did not come to its end: back to quarantine."""
        self._model.move(Readiness.QUARANTINED, Cause.RELEASE_FAILED, actor, **BLANK, reason=why)
        text = f"back in quarantine: {why}"
        self._services.say(
            "model_quarantined", text, model_id=self._model.id, actor=actor, level="warn"
        )
