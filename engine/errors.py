"""The one table of codes and statuses, and the record every refusal is told with.

Nothing else in the project may invent a code or a status: the console, the API, the event log and
the registry all repeat a ``Decision`` word for word.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every way the engine says no."""

    MODEL_NOT_FOUND = "model_not_found"
    MODEL_INCOMPLETE = "model_incomplete"
    MODEL_UNSAFE = "model_unsafe"
    MODEL_UNSUPPORTED_BACKEND = "model_unsupported_backend"
    MODEL_UNSUPPORTED_ARCH = "model_unsupported_arch"
    INSUFFICIENT_MEMORY = "insufficient_memory"
    MODEL_LOAD_TIMEOUT = "model_load_timeout"
    MODEL_LOADER_CRASHED = "model_loader_crashed"
    MODEL_CANARY_FAILED = "model_canary_failed"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_UNSTABLE = "model_unstable"
    REQUEST_SUSPECT = "request_suspect"
    CONFLICT = "conflict"
    SHUTTING_DOWN = "shutting_down"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    QUEUE_FULL = "queue_full"
    INVALID_REQUEST = "invalid_request"
    INVALID_HEADER = "invalid_header"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    PATH_NOT_FOUND = "path_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    UNKNOWN_FAILURE = "unknown_failure"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a code means wherever it appears.

    ``overridable`` is about ``allow_unsupported_runtime``; memory is overridden by a stated
    reservation instead. ``strike`` says whether the failure counts against the model.
    """

    http_status: int
    retryable: bool
    overridable: bool = False
    strike: bool = False


RULES: dict[Code, Rule] = {
    Code.MODEL_NOT_FOUND: Rule(404, retryable=False),
    Code.MODEL_INCOMPLETE: Rule(422, retryable=False),
    Code.MODEL_UNSAFE: Rule(422, retryable=False),
    Code.MODEL_UNSUPPORTED_BACKEND: Rule(422, retryable=False, overridable=True),
    Code.MODEL_UNSUPPORTED_ARCH: Rule(422, retryable=False, overridable=True),
    Code.INSUFFICIENT_MEMORY: Rule(503, retryable=True),
    Code.MODEL_LOAD_TIMEOUT: Rule(504, retryable=True, strike=True),
    Code.MODEL_LOADER_CRASHED: Rule(502, retryable=True, strike=True),
    Code.MODEL_CANARY_FAILED: Rule(409, retryable=False),
    Code.MODEL_NOT_READY: Rule(409, retryable=True),
    Code.MODEL_UNSTABLE: Rule(409, retryable=True),
    Code.REQUEST_SUSPECT: Rule(409, retryable=False),
    Code.CONFLICT: Rule(409, retryable=False),
    Code.SHUTTING_DOWN: Rule(503, retryable=True),
    Code.DEADLINE_EXCEEDED: Rule(504, retryable=True),
    Code.QUEUE_FULL: Rule(429, retryable=True),
    Code.INVALID_REQUEST: Rule(400, retryable=False),
    Code.INVALID_HEADER: Rule(400, retryable=False),
    Code.CONTEXT_LENGTH_EXCEEDED: Rule(400, retryable=False),
    Code.UNAUTHORIZED: Rule(401, retryable=False),
    Code.FORBIDDEN: Rule(403, retryable=False),
    Code.PAYLOAD_TOO_LARGE: Rule(413, retryable=False),
    Code.UNSUPPORTED_MEDIA_TYPE: Rule(415, retryable=False),
    Code.PATH_NOT_FOUND: Rule(404, retryable=False),
    Code.METHOD_NOT_ALLOWED: Rule(405, retryable=False),
    Code.REQUEST_TIMEOUT: Rule(408, retryable=True),
    Code.UNKNOWN_FAILURE: Rule(500, retryable=False, strike=True),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One refusal, told the same way everywhere: what happened, what was expected, what was
    found, and what to do next. Build it with :func:`refuse`."""

    code: Code
    http_status: int
    message: str
    retryable: bool
    retry_after_s: float | None = None
    check: str | None = None
    expected: str = ""
    found: str = ""
    remedy: str = ""
    overridable: bool = False
    evidence_id: str | None = None
    param: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Every field by its contract name, ready for JSON."""
        return asdict(self)


def refuse(
    code: Code,
    message: str,
    *,
    retryable: bool | None = None,
    retry_after_s: float | None = None,
    check: str | None = None,
    expected: str = "",
    found: str = "",
    remedy: str = "",
    evidence_id: str | None = None,
    param: str | None = None,
) -> Decision:
    """Build a Decision; status, retryability and overridability come from the table.

    Args:
        retryable: Only where the same code is retryable in one case and not in another
            (``model_unstable``: a death under a request, or a quarantine).
    """
    rule = RULES[code]
    return Decision(
        code=code,
        http_status=rule.http_status,
        message=message,
        retryable=rule.retryable if retryable is None else retryable,
        retry_after_s=retry_after_s,
        check=check,
        expected=expected,
        found=found,
        remedy=remedy,
        overridable=rule.overridable,
        evidence_id=evidence_id,
        param=param,
    )


class EngineError(Exception):
    """A refusal on its way to whoever asked. Carries the Decision and nothing else."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.message)
        self.decision = decision


def unless_one_did(tried: int, failed: Sequence[BaseException]) -> None:
    """Of several copies of a model one is enough: raise the first failure where all that were
    tried have failed, and what is no refusal always."""
    for error in failed:
        if len(failed) == tried or not isinstance(error, EngineError):
            raise error
