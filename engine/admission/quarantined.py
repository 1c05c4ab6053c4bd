"""Is the model held back: a quarantined content, or a model an operator holds."""

from dataclasses import replace

from engine.admission import answer
from engine.admission.subject import Subject
from engine.errors import Decision
from engine.types import Check, CheckResult

CHECK = "quarantine"
_EXPECTED = "neither quarantined nor held"


def judge(subject: Subject) -> tuple[Check, Decision | None]:
    """The check, and the quarantine's own Decision where it refuses.

    A release is the way out of quarantine and passes.
    """
    decision = subject.facts.quarantined(subject.key, subject.entry.id)
    if decision is None:
        return answer.passed(CHECK, _EXPECTED, "free"), None
    if subject.release:
        return answer.passed(CHECK, _EXPECTED, "quarantined, and being released"), None
    decision = replace(decision, check=CHECK, overridable=False)
    check = Check(
        check=CHECK,
        result=CheckResult.FAIL,
        expected=decision.expected or _EXPECTED,
        found=decision.found or decision.message,
        code=decision.code,
        message=decision.message,
        remedy=decision.remedy,
    )
    return check, decision
