"""The words with a fixed list: states, backends and the answers of checks and steps."""

from enum import StrEnum


class Readiness(StrEnum):
    """Where a model stands on its way to traffic. Only ``routable`` gets requests."""

    UNLOADED = "unloaded"
    ADMITTED = "admitted"
    LOADING = "loading"
    CANARY_PENDING = "canary_pending"
    ROUTABLE = "routable"
    QUARANTINED = "quarantined"


class Backend(StrEnum):
    """Which family of runtime runs a model; also the ``backend`` field of the registry."""

    GGUF = "gguf"
    MLX = "mlx"
    SIMULATED = "simulated"


class CheckResult(StrEnum):
    """The answer of one admission check."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


class StepResult(StrEnum):
    """The answer of one canary step, including the two it has before it answers."""

    PENDING = "pending"
    RUNNING = "running"
    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


class HostState(StrEnum):
    """How a host is: ``stale`` has not been heard for a while, ``lost`` is given up."""

    OK = "ok"
    STALE = "stale"
    LOST = "lost"
