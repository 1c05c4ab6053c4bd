"""What the engine shows of itself: immutable views, safe to hand to any screen, client or thread.

The one door to every view; enumerations and the views of the machine have files of their own.
Everything here is a value. Times are Unix seconds, sizes are bytes, durations name their unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.errors import Decision
from engine.machine import NO_MEMORY, HostView, MemoryEstimate, MemoryView, RuntimeView
from engine.words import Backend, CheckResult, HostState, Readiness, StepResult

__all__ = [
    "Backend",
    "CanaryStep",
    "CanaryView",
    "Check",
    "CheckResult",
    "ClientView",
    "EngineSnapshot",
    "Event",
    "Evidence",
    "Explanation",
    "HostState",
    "HostView",
    "Key",
    "MemoryEstimate",
    "MemoryView",
    "ModelView",
    "Notice",
    "QuarantineView",
    "Readiness",
    "RegistryRow",
    "RequestView",
    "RuntimeView",
    "StepResult",
    "Transition",
]


class Key(NamedTuple):
    """What a verdict and a strike are about: this content on this backend version.

    Verdicts are about a class of hosts, strikes and quarantine about one host.
    """

    fingerprint: str
    backend: Backend
    backend_version: str
    host_class: str = ""
    """Empty for the class of the engine's own host."""
    host: str = ""
    """Empty for the engine's own host."""


@dataclass(frozen=True, slots=True)
class Check:
    """One admission check as it was answered.

    ``code``, ``message`` and ``remedy`` are set when ``result`` is ``fail``; ``overridable`` says
    whether ``allow_unsupported_runtime`` would skip this check.
    """

    check: str
    result: CheckResult
    expected: str
    found: str
    code: str | None = None
    message: str = ""
    remedy: str = ""
    overridable: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """The gate's whole answer for one model: every check, the first that fails as a Decision."""

    model_id: str
    path: str
    backend: Backend | None
    backend_version: str
    runtime: str
    admitted: bool
    checks: tuple[Check, ...]
    decision: Decision | None = None
    estimate: MemoryEstimate | None = None
    fingerprint: str = ""

    @property
    def blockers(self) -> tuple[Check, ...]:
        """Every failing check, in order: what an override would have to skip."""
        return tuple(c for c in self.checks if c.result is CheckResult.FAIL)

    def as_row(self) -> dict[str, object]:
        """The contract of ``lmx explain --json`` and ``/admin/models/explain``."""
        said = self.decision
        return {
            "model": self.model_id,
            "path": self.path,
            "admitted": self.admitted,
            "code": said.code if said else None,
            "check": said.check if said else None,
            "message": said.message if said else "",
            "remedy": said.remedy if said else "",
            "overridable": said.overridable if said else False,
            "checks": [
                {"check": c.check, "result": c.result, "expected": c.expected, "found": c.found}
                for c in self.checks
            ],
        }


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """One step of a canary run, with the time it took once it answered."""

    name: str
    result: StepResult = StepResult.PENDING
    ms: float | None = None
    detail: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class CanaryView:
    """A canary run: the one in progress or the last one of this model."""

    model_id: str
    run_id: str
    started_at: float
    steps: tuple[CanaryStep, ...]
    ended_at: float | None = None
    passed: bool | None = None
    reason: str = ""
    ttft_ms: float | None = None
    tokens_per_second: float | None = None

    @property
    def done(self) -> int:
        """How many steps have answered."""
        unanswered = (StepResult.PENDING, StepResult.RUNNING)
        return sum(step.result not in unanswered for step in self.steps)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept of one failure, for the operator who comes later."""

    id: str
    at: float
    model_id: str
    cause: str
    """``SIGSEGV``, ``hang``, ``canary: perplexity`` …: short enough for a row."""
    phase: str
    """The readiness at the time: ``loading``, ``canary_pending`` or ``routable``."""
    detail: str = ""
    signal: str | None = None
    exit_code: int | None = None
    stderr_tail: str = ""
    requests: tuple[str, ...] = ()
    """One short line for each request that was in flight: client, prompt and output tokens."""
    backend: str = ""
    backend_version: str = ""


@dataclass(frozen=True, slots=True)
class QuarantineView:
    """One quarantined model, with what an operator needs to decide its release."""

    model_id: str
    reason: str
    since: float
    strikes: int
    eligible_at: float
    """From this moment a release needs no ``early``."""
    held: bool
    cool_down_s: float
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request in flight. ``phase`` is ``queued``, ``prefill`` or ``decode``."""

    id: str
    model_id: str
    client: str
    phase: str
    prompt_tokens: int
    prefilled: int
    generated: int
    started_at: float


@dataclass(frozen=True, slots=True)
class ClientView:
    """What one client has asked for since the engine started."""

    name: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a model's readiness, kept for the detail screen's timeline."""

    at: float
    source: Readiness
    target: Readiness
    cause: str
    actor: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One row of the catalog as it stands now."""

    id: str
    path: str
    backend: Backend
    runtime: str
    backend_version: str
    weight_bytes: int
    """Bytes of weights on disk."""
    architecture: str = ""
    quantisation: str = ""
    context_trained: int | None = None
    simulated: bool = False
    buildable: bool = False
    """Not on disk yet: its first load builds it (the MLX starter)."""
    readiness: Readiness = Readiness.UNLOADED
    since: float = 0.0
    version: int = 0
    """Rises with every change of readiness; an action carries the one it was decided on."""
    progress: float | None = None
    """Load progress in 0…1, or None where the backend gives none."""
    stage: str = ""
    """What a load is doing, such as ``building`` or ``loading``."""
    canary: CanaryView | None = None
    strikes: int = 0
    strike_limit: int = 3
    override: bool = False
    probation: bool = False
    reason: str = ""
    """Why it stands where it stands, when that is not obvious from the state."""
    refusal: Decision | None = None
    """The last refusal at the gate or at load, until the model is asked for again."""
    evidence: Evidence | None = None
    estimate: MemoryEstimate | None = None
    measured_bytes: int | None = None
    requests: int = 0
    tokens_per_second: float | None = None
    idle_since: float | None = None
    """Since when a routable model has had no request; None while it has one."""
    context: int | None = None
    retry_at: float | None = None
    """When the next restart is due, while a back-off runs."""
    draining: bool = False
    drain_until: float | None = None
    """When the requests that are still in flight are cancelled, while it drains."""
    unclean: bool = False
    """The machine went down while it was loaded; it is not loaded again by itself."""
    chat: bool = True
    """False for a model without a chat template: completions only."""
    tool_format: str = ""
    """How it writes tool calls, by the name of its parser; empty where it writes none."""
    thinking: tuple[str, str] | None = None
    """The texts that open and close its thinking."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What a request is drawn with that states nothing, by the settings; fields of ChatOptions."""
    pid: int | None = None
    ranks: int = 1
    """Processes that hold it together; ``pid`` is the first of them."""
    transitions: tuple[Transition, ...] = ()
    host: str = ""
    """Where its files are and its worker runs."""
    family: str = ""
    """The id that means it and its copies on other hosts together; requests may ask for it."""

    @property
    def alone(self) -> str:
        """The name that means this row and none of its copies: the plain id, which the one on the
        engine's own host bears, means them all."""
        where = f"@{self.host}"
        return self.id if not self.host or self.id.endswith(where) else self.id + where


@dataclass(frozen=True, slots=True)
class RegistryRow:
    """One record of the compatibility registry, in the file's seven fields."""

    ts: float
    model_id: str
    backend: str
    backend_version: str
    outcome: str
    reason: str
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log. ``kind`` is past tense, such as ``model_quarantined``."""

    seq: int
    ts: float
    kind: str
    message: str
    model_id: str = ""
    actor: str = ""
    level: str = "info"
    """``info``, ``warn`` or ``error``."""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """A lasting banner: something is wrong with the house itself, and stays so until mended."""

    id: str
    message: str
    level: str = "warn"


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Everything a screen may show, as of one moment. Equal versions mean equal content."""

    version: int
    taken_at: float
    started: bool = False
    stopping: bool = False
    models: tuple[ModelView, ...] = ()
    quarantine: tuple[QuarantineView, ...] = ()
    registry: tuple[RegistryRow, ...] = ()
    """The newest rows, newest first."""
    registry_total: int = 0
    events: tuple[Event, ...] = ()
    """The newest events, newest last."""
    requests: tuple[RequestView, ...] = ()
    clients: tuple[ClientView, ...] = ()
    """Those that asked most recently, newest first."""
    memory: MemoryView = NO_MEMORY
    runtimes: tuple[RuntimeView, ...] = ()
    """Those of the engine's own host."""
    hosts: tuple[HostView, ...] = ()
    """Every host models run on, the engine's own first; ``memory`` is theirs together."""
    notices: tuple[Notice, ...] = ()
    outdated: tuple[str, ...] = ()
    """Models whose verdicts belong to another version of their runtime than is installed now."""
    proving: tuple[str, ...] = ()
    """Those of them that are still to be proved again in the background, the model under trial
    first; empty while nothing of the kind runs."""
    home: str = ""
    host: str = ""
    api: str = ""
    """Where the API answers, or empty."""

    def model(self, model_id: str) -> ModelView | None:
        """The row with this id, or None."""
        return next((m for m in self.models if m.id == model_id), None)

    def host_of(self, model: ModelView) -> HostView | None:
        """The host of this model, or None where it is not known."""
        return next((host for host in self.hosts if host.name == model.host), None)

    def memory_of(self, model: ModelView) -> MemoryView:
        """The memory that a load of this model takes from: its host's."""
        host = self.host_of(model)
        return self.memory if host is None else host.memory

    def case(self, model_id: str) -> QuarantineView | None:
        """The quarantine of this model, or None."""
        return next((c for c in self.quarantine if c.model_id == model_id), None)
