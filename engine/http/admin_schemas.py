"""What ``/admin`` is asked and answers, as pydantic models; ``/docs`` draws them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from engine.errors import Decision
from engine.face import LoadOptions
from engine.lives.figures import PerformanceView
from engine.types import (
    Backend,
    CanaryView,
    Evidence,
    Explanation,
    MemoryEstimate,
    ModelView,
    Readiness,
    Transition,
)

ModelId = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Asked(BaseModel):
    """A request's body. A field nobody knows is refused: a misspelt option that is silently
    ignored would be the wrong action."""

    model_config = ConfigDict(extra="forbid")


class ModelAction(Asked):
    """An action on a model."""

    model_id: ModelId = Field(
        description="An id. In a cluster the plain id means every copy of the model, and `ID@HOST` "
        "the one on that host; with `expect` it is always one."
    )
    expect: int | None = Field(
        None,
        description="The `version` of the model the action was decided on; if it has moved since, "
        "the answer is 409 `conflict`.",
    )


RANKS = "Processes to split an MLX model among."


class LoadRequest(ModelAction):
    """Admit and load a model."""

    backend: Backend | None = None
    runtime: str | None = Field(None, max_length=100)
    context: int | None = Field(None, gt=0)
    keep_alive_sec: Positive | None = Field(
        None, description="Unload after so long without a request; left out, it stays."
    )
    reserve_gb: Positive | None = Field(
        None, description="Your own figure for the memory it takes, instead of the estimate."
    )
    allow_unsupported_runtime: bool = Field(
        False, description="Accept the compatibility risk; on the record, with your name."
    )
    ranks: int | None = Field(None, ge=1, le=64, description=RANKS)
    host: str | None = Field(None, max_length=120, description="The host of a cluster to load on.")
    replicas: int | None = Field(None, ge=1, le=1000, description="On how many hosts to run it.")
    unattended: bool = Field(
        False, description="Nobody watches: what took the machine down is left to an operator."
    )
    wait: bool = Field(True, description="Answer once it is routable; false: at once, with 202.")

    def options(self) -> LoadOptions:
        """In the engine's words."""
        return LoadOptions(
            backend=self.backend,
            runtime=self.runtime,
            context=self.context,
            keep_alive_s=self.keep_alive_sec,
            allow_unsupported_runtime=self.allow_unsupported_runtime,
            reserve_gb=self.reserve_gb,
            ranks=self.ranks,
            host=self.host,
            replicas=self.replicas,
            unattended=self.unattended,
        )


class ReleaseRequest(ModelAction):
    """Let a quarantined model try again."""

    early: bool = Field(False, description="Before its cool-down is over.")
    allow_unsupported_runtime: bool = False
    wait: bool = Field(True, description="Answer once it is routable; false: at once, with 202.")


class CanaryRequest(ModelAction):
    """Prove a model again."""

    load: bool = Field(
        False, description="Where it is not loaded: load it, prove it, unload it; see `trial`."
    )
    runtime: str | None = Field(None, max_length=100, description="Only with `load`.")


class ExplainRequest(Asked):
    """Ask the gate without loading."""

    model_id: ModelId = Field(description="An id, or the absolute path of a model of the catalog.")
    backend: Backend | None = None
    runtime: str | None = Field(None, max_length=100)
    context: int | None = Field(None, gt=0)
    reserve_gb: Positive | None = None
    ranks: int | None = Field(None, ge=1, le=64, description=RANKS)
    allow_unsupported_runtime: bool = False

    def options(self) -> LoadOptions:
        """In the engine's words."""
        return LoadOptions(
            backend=self.backend,
            runtime=self.runtime,
            context=self.context,
            allow_unsupported_runtime=self.allow_unsupported_runtime,
            reserve_gb=self.reserve_gb,
            ranks=self.ranks,
        )


class AdminReadiness(BaseModel):
    """Where a model stands."""

    state: Readiness
    since: float
    strikes: int
    reason: str
    probation: bool
    override: bool
    evidence_id: str | None

    @classmethod
    def of(cls, view: ModelView) -> Self:
        """From the engine's view."""
        return cls(
            state=view.readiness,
            since=view.since,
            strikes=view.strikes,
            reason=view.reason,
            probation=view.probation,
            override=view.override,
            evidence_id=view.evidence.id if view.evidence else None,
        )


class AdminModelDetail(BaseModel):
    """One model, with everything that is known of it now."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    readiness: AdminReadiness
    version: int
    path: str
    backend: Backend
    runtime: str
    backend_version: str
    weight_bytes: int
    architecture: str
    quantisation: str
    context_trained: int | None
    simulated: bool
    buildable: bool
    progress: float | None
    stage: str
    canary: CanaryView | None
    strike_limit: int
    refusal: Decision | None
    evidence: Evidence | None
    estimate: MemoryEstimate | None
    measured_bytes: int | None
    requests: int
    tokens_per_second: float | None
    idle_since: float | None
    context: int | None
    retry_at: float | None
    draining: bool
    unclean: bool
    chat: bool
    tool_format: str
    pid: int | None
    host: str
    family: str
    transitions: tuple[Transition, ...]

    @classmethod
    def of(cls, view: ModelView) -> Self:
        """From the engine's view."""
        own = cls.model_fields.keys() - {"readiness"}
        fields: dict[str, Any] = {name: getattr(view, name) for name in own}
        return cls(readiness=AdminReadiness.of(view), **fields)


class AdminLoadedModels(BaseModel):
    """Every model that is not ``unloaded``."""

    loaded: list[AdminModelDetail]
    count: int


class AdminAvailableModels(BaseModel):
    """Every model of the catalog."""

    models: list[AdminModelDetail]
    count: int


class AdminActionResponse(BaseModel):
    """What an action came to."""

    model_id: str
    readiness: AdminReadiness
    model: AdminModelDetail
    touched: tuple[str, ...] = Field(
        description="The rows it was done to: several where a model has copies on several hosts, "
        "none where there was nothing to do."
    )


class AdminTrial(BaseModel):
    """What came of one model's trial; the fields of ``lmx canary --json``."""

    model: str
    outcome: Literal["passed", "failed", "never_tried"]
    backend: str
    runtime: str
    backend_version: str
    reason: str
    code: str | None
    tokens_per_second: float | None
    before: float | None
    before_version: str
    slower: bool
    seconds: float


class AdminCanaryResponse(BaseModel):
    """How a canary went."""

    model_id: str
    passed: bool
    canary: CanaryView | None
    touched: tuple[str, ...] = Field(description="Every copy that was proved.")
    trial: AdminTrial | None = None
    trials: tuple[AdminTrial, ...] = ()
    """With ``load``, one for each copy."""


class AdminModelPerformanceResponse(BaseModel):
    """One model's figures since the engine started, with its readiness."""

    model_id: str
    readiness: AdminReadiness
    performance: PerformanceView
    tokens_per_second: float | None
    canary_ttft_ms: float | None
    canary_tokens_per_second: float | None
    requests_in_flight: int
    estimate_bytes: int | None
    measured_bytes: int | None


class AdminCheck(BaseModel):
    """One check of the gate."""

    check: str
    result: str
    expected: str
    found: str


class AdminExplanation(BaseModel):
    """The gate's answer; the fields of ``lmx explain --json``."""

    model: str
    path: str
    admitted: bool
    code: str | None
    check: str | None
    message: str
    remedy: str
    overridable: bool
    checks: list[AdminCheck]

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """From the engine's answer."""
        return cls.model_validate(explanation.as_row())


class AdminCandidate(BaseModel):
    """One runtime that could run a model."""

    runtime: str
    backend: Backend | None
    backend_version: str
    outcome: Literal["pass", "fail"]
    reason: str
    explanation: AdminExplanation

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """From the gate's answer for this runtime."""
        return cls(
            runtime=explanation.runtime,
            backend=explanation.backend,
            backend_version=explanation.backend_version,
            outcome="pass" if explanation.admitted else "fail",
            reason=explanation.decision.message if explanation.decision else "",
            explanation=AdminExplanation.of(explanation),
        )


class AdminProbeResponse(BaseModel):
    """Where a model could run."""

    model_id: str
    recommended: str | None
    """The first runtime that would admit it."""
    candidates: list[AdminCandidate]
