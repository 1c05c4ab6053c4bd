"""A refusal as it came over the wire, made a Decision again: the words are the engine's own."""

from engine.errors import RULES, Code, Decision


def decision_of(told: object) -> Decision | None:
    """The Decision in an error of the API; None where there is none.

    A code this console does not know, of a newer engine, is told as ``unknown_failure``.
    """
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict) or "code" not in error:
        return None

    def text(name: str) -> str:
        return str(error.get(name) or "")

    known = error["code"] in Code.__members__.values()
    code = Code(error["code"]) if known else Code.UNKNOWN_FAILURE
    wait = error.get("retry_after_s")
    return Decision(
        code=code,
        http_status=RULES[code].http_status,
        message=text("message") if known else f"{text('code')}: {text('message')}",
        retryable=bool(error.get("retryable")),
        retry_after_s=float(wait) if isinstance(wait, int | float) else None,
        check=error.get("check"),
        expected=text("expected"),
        found=text("found"),
        remedy=text("remedy"),
        overridable=bool(error.get("overridable")),
        evidence_id=error.get("evidence_id"),
        param=error.get("param"),
    )
