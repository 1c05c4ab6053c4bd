"""How a check answers: one constructor for each result, so that no answer lacks its words."""

from engine.errors import Code
from engine.text import clean_line
from engine.types import Check, CheckResult

LIMIT = 300
"""Longest expected or found, in characters: a line on a screen, not a dump of the file."""


def passed(check: str, expected: str, found: str) -> Check:
    """The check was asked and the model meets it."""
    return _check(check, CheckResult.PASS, expected, found)


def warned(check: str, expected: str, found: str) -> Check:
    """Odd, and worth an operator's look, but no reason to refuse."""
    return _check(check, CheckResult.WARN, expected, found)


def unknown(check: str, expected: str, found: str) -> Check:
    """The check could not be answered; ``found`` says why."""
    return _check(check, CheckResult.UNKNOWN, expected, found)


def skipped(check: str, expected: str, found: str) -> Check:
    """The check does not apply here, or an operator chose to go without it."""
    return _check(check, CheckResult.SKIPPED, expected, found)


def failed(
    check: str,
    code: Code,
    message: str,
    *,
    expected: str,
    found: str,
    remedy: str,
    overridable: bool = False,
) -> Check:
    """The model is refused.

    Args:
        message: What is wrong, as a sentence for the person on call.
        remedy: The next thing to do.
        overridable: Whether ``allow_unsupported_runtime`` skips exactly this failure.
    """
    return Check(
        check=check,
        result=CheckResult.FAIL,
        expected=clean_line(expected, limit=LIMIT),
        found=clean_line(found, limit=LIMIT),
        code=code,
        message=clean_line(message, limit=LIMIT),
        remedy=clean_line(remedy, limit=LIMIT),
        overridable=overridable,
    )


def _check(check: str, result: CheckResult, expected: str, found: str) -> Check:
    return Check(check, result, clean_line(expected, limit=LIMIT), clean_line(found, limit=LIMIT))
