"""What follows a failure: evidence kept, the fault counted, the readiness moved, the row written.

Policy is the quarantine's; this is where its answer becomes a state, an event and a registry row.
State moves before anything is awaited, so that an unload in between meets the truth.
"""

from dataclasses import dataclass
from pathlib import Path

from engine.canary import Verdict
from engine.errors import Code, Decision, refuse
from engine.model import BLANK, Model
from engine.readiness import Cause
from engine.record import evidence_dict
from engine.services import Services
from engine.statefile import Suspicion
from engine.text import clean_line
from engine.types import Evidence, MemoryEstimate, Readiness, StepResult
from engine.workers.exits import Fault, WorkerExit

_EVIDENCE_TAIL = 4000
"""Characters of standard error kept with one failure."""
_REMEDIES = {
    Code.INSUFFICIENT_MEMORY: "unload another model or choose a shorter context, then load again",
    Code.MODEL_INCOMPLETE: "download or convert the model again",
    Code.MODEL_UNSUPPORTED_ARCH: "upgrade the backend to a version that knows it",
    Code.MODEL_UNSUPPORTED_BACKEND: "upgrade the backend, or convert the model to a format it runs",
}


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

    async def fail_canary(self, verdict: Verdict) -> Decision:
        """A required step failed: quarantined at once, with the row that says why."""
        model, services = self._model, self._services
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
        await self.write_canary(verdict, self._mission.actor, evidence)
        return decision

    async def write_canary(
        self, verdict: Verdict, actor: str, evidence: Evidence | None = None
    ) -> None:
        """Append the run's row to the registry, with the evidence of a failure."""
        model, speed = self._model, verdict.tokens_per_second
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
                "ttft_ms": verdict.ttft_ms,
                "tokens_per_second": speed,
                "estimate_bytes": self._mission.estimate.total,
                "measured_bytes": model.view.measured_bytes,
                "steps": {s.name: [s.result.value, s.ms] for s in verdict.steps},
            }
            | ({"evidence": evidence_dict(evidence)} if evidence else {}),
        )

    async def strike(self, fault: Fault, window_s: float, wait_s: float) -> Decision | None:
        """Count a death against the model.

        Args:
            window_s: The strikes' window in seconds.
            wait_s: The back-off before its restart.

        Returns:
            The quarantine's Decision when this was one strike too many, else None.
        """
        model, services = self._model, self._services
        evidence = self._seen(fault)
        out = services.quarantine.strike(model.key, model.id, evidence, window_s=window_s)
        strikes = services.quarantine.strikes(model.key)
        decision = services.quarantine.decision(model.key, model.id) if out else None
        if decision is not None:
            reason = f"crash_loop:{strikes} {fault.cause}"
            model.move(
                Readiness.QUARANTINED,
                Cause.STRUCK_OUT,
                "engine",
                **BLANK,
                strikes=strikes,
                reason=reason,
                refusal=None,
            )
            kind, text = "model_quarantined", f"quarantined after {strikes} strikes: {fault.cause}"
        else:
            reason = f"{fault.cause} ({evidence.phase})"
            self._wait(fault, wait_s, strikes)
            kind = "worker_died"
            text = f"worker died: {fault.cause}; strike {strikes}; restarts in {wait_s:g} s"
        services.say(kind, text, model_id=model.id, level="error")
        await services.write_down(
            model.key,
            model.id,
            "fail",
            reason,
            "quarantine" if decision else "strike",
            {"evidence": evidence_dict(evidence)} | {"override": self._mission.override},
        )
        return decision

    async def charge(self, fault: Fault, suspicions: tuple[Suspicion, ...], wait_s: float) -> None:
        """A death under a request that saw one before: the request's fault, not the model's."""
        model, services = self._model, self._services
        evidence = self._seen(fault)
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

    def _wait(self, fault: Fault, wait_s: float, strikes: int) -> None:
        self._model.move(
            Readiness.LOADING,
            Cause.DIED,
            "engine",
            strikes=strikes,
            stage="waiting",
            progress=None,
            canary=None,
            retry_at=self._services.clock() + wait_s,
            reason=fault.cause,
        )

    async def leave(self, fault: Fault) -> Decision:
        """An environment fault or a clear refusal at load: unloaded, no strike, reason shown."""
        model, services = self._model, self._services
        evidence = self._seen(fault)
        decision = refuse(
            fault.code,
            f"{model.id} was unloaded: {fault.cause}",
            check="load",
            expected="the backend loads and runs it",
            found=fault.detail,
            remedy=_REMEDIES.get(fault.code, "see its evidence for the worker's last words"),
            evidence_id=evidence.id,
        )
        released = services.quarantine.put_back(model.key)
        model.move(
            Readiness.QUARANTINED if released else Readiness.UNLOADED,
            Cause.RELEASE_FAILED if released else Cause.ENVIRONMENT,
            "engine",
            **BLANK,
            refusal=decision,
            reason=fault.cause,
        )
        services.say(
            "model_unloaded",
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
        self._model.move(Readiness.UNLOADED, Cause.ENVIRONMENT, "engine", **BLANK, reason=why)
        self._services.say("model_unloaded", why, model_id=self._model.id, level="warn")

    def relapse(self, why: str, actor: str) -> None:
        """A release that did not come to its end: back to quarantine."""
        self._services.quarantine.put_back(self._model.key)
        self._model.move(Readiness.QUARANTINED, Cause.RELEASE_FAILED, actor, **BLANK, reason=why)
        self._services.say("model_quarantined", why, model_id=self._model.id, level="warn")
