"""A Decision as an OpenAI client reads it: every error of the API has this one shape."""

import math
from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import JSONResponse

from engine.errors import Code, Decision, refuse

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_SERVER_FAULT = 500
_OWN_FIELDS = ("check", "expected", "found", "remedy", "retryable", "overridable", "evidence_id")


class ErrorDetail(BaseModel):
    """What happened, as OpenAI's clients read it, and what to do about it."""

    message: str
    type: str
    param: str | None
    code: Code
    check: str | None
    expected: str
    found: str
    remedy: str
    retryable: bool
    overridable: bool
    evidence_id: str | None
    retry_after_s: float | None


class ErrorBody(BaseModel):
    """Every error of the API."""

    error: ErrorDetail


def error_body(decision: Decision) -> dict[str, object]:
    """The body of a refusal, and of the one error event that ends a stream.

    OpenAI's four fields, then what the Decision says beyond them.
    """
    status = decision.http_status
    fallback = "server_error" if status >= _SERVER_FAULT else "invalid_request_error"
    error: dict[str, object] = {
        "message": decision.message,
        "type": _TYPES.get(status, fallback),
        "param": decision.param,
        "code": decision.code.value,
    }
    for name in _OWN_FIELDS:
        error[name] = getattr(decision, name)
    error["retry_after_s"] = decision.retry_after_s
    return {"error": error}


def refusal(decision: Decision, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response a Decision is: its own status, ``Retry-After`` where it names a wait."""
    told = dict(headers or {})
    if decision.retry_after_s is not None:
        told["Retry-After"] = str(max(math.ceil(decision.retry_after_s), 1))
    if decision.code is Code.UNAUTHORIZED:
        told["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(decision), decision.http_status, told)


def unforeseen(incident: str) -> Decision:
    """What a client is told of a failure nobody classified; the log has the rest.

    Args:
        incident: The id it is logged under.
    """
    return refuse(
        Code.UNKNOWN_FAILURE,
        f"something went wrong that nobody foresaw; it is logged as {incident}",
        expected="an answer",
        found="an unclassified failure",
        remedy=f"look for {incident} in the event log",
        evidence_id=incident,
    )
