"""What the gate said, in lines: a refusal, one check, all checks, the memory estimate."""

from collections.abc import Sequence

from console.line import Cell, Line, cut, left, tidy
from console.paragraph import labelled, paragraph, safe
from console.room import free_of
from console.status import Glyphs, Sign
from console.units import size_text, span_text
from engine import Check, CheckResult, Decision, Explanation, MemoryEstimate, MemoryView

CHECK_SIGNS: dict[CheckResult, Sign] = {
    CheckResult.PASS: Sign("✓", "+", "pass", "ok"),
    CheckResult.FAIL: Sign("✕", "x", "fail", "bad"),
    CheckResult.WARN: Sign("!", "!", "warn", "warn"),
    CheckResult.SKIPPED: Sign("-", "-", "skipped", "idle"),
    CheckResult.UNKNOWN: Sign("?", "?", "unknown", "warn"),
}
EVIDENCE_LIMIT = 16_000
"""Characters of foreign evidence a screen takes; the whole of it is on disk."""


def decision_lines(
    decision: Decision, width: int, glyphs: Glyphs, *, coded: bool = True
) -> list[Line]:
    """A refusal as it is told everywhere: code and message, what was looked at, the remedy.

    Args:
        coded: False where the code is already said beside it.
    """
    message = safe(decision.message, glyphs, limit=EVIDENCE_LIMIT)
    lines = paragraph(f"{decision.code}: {message}" if coded else message, width, "bad")
    found = safe(decision.found, glyphs, limit=EVIDENCE_LIMIT)
    lines += labelled("check", tidy(decision.check or ""), width)
    lines += labelled("expected", safe(decision.expected, glyphs, limit=2000), width)
    lines += labelled("found", found, width)
    lines += labelled("remedy", safe(decision.remedy, glyphs, limit=2000), width, "warn")
    if decision.retry_after_s is not None:
        lines += labelled("try again", f"in {span_text(decision.retry_after_s)}", width)
    return lines


def verdict_line(
    explanation: Explanation, width: int, glyphs: Glyphs, *, refused: str = "refused"
) -> Line:
    """Admitted or refused, with the code of the first check that refuses.

    Args:
        refused: The words for a refusal.
    """
    if explanation.admitted:
        return (Cell(f" {glyphs.of(CHECK_SIGNS[CheckResult.PASS])} ", "ok"), Cell("admitted", "ok"))
    sign = glyphs.of(CHECK_SIGNS[CheckResult.FAIL])
    code = explanation.decision.code if explanation.decision else "unknown_failure"
    count = len(explanation.blockers)
    more = f", {count} checks block" if count > 1 else ""
    text = cut(f"{refused}: {code}{more}", width - 4, glyphs.ellipsis)
    return (Cell(f" {sign} ", "bad"), Cell(text, "bad"))


def check_lines(check: Check, width: int, glyphs: Glyphs, *, column: int = 14) -> list[Line]:
    """One check: a line when it passed, all it has to say when it did not."""
    sign = CHECK_SIGNS[check.result]
    head = (
        Cell(f" {glyphs.of(sign)} ", sign.style),
        Cell(left(tidy(check.check), column) + " ", "name"),
        Cell(left(sign.word, 8), sign.style),
    )
    used = 3 + column + 1 + 8
    quiet = check.result in (CheckResult.PASS, CheckResult.SKIPPED)
    found = tidy(check.found, ascii_only=glyphs.ascii_only)
    if quiet:
        return [(*head, Cell(cut(found, max(width - used - 1, 0), glyphs.ellipsis), "dim"))]
    code = tidy(check.code or "", limit=40)
    reach = "  override skips it" if check.overridable else ""
    lines: list[Line] = [(*head, Cell(code, "bad"), Cell(reach, "dim"))]
    indent = " " * 3
    for label, text, style in (
        ("", check.message, "text"),
        ("expected", check.expected, "text"),
        ("found", check.found, "text"),
        ("remedy", check.remedy, "warn"),
    ):
        told = safe(text, glyphs, limit=2000)
        lines += [
            (Cell(indent), *line)
            for line in labelled(label, told, width - 3, style, column=max(column, 9))
        ]
    return lines


def checks_lines(checks: Sequence[Check], width: int, glyphs: Glyphs) -> list[Line]:
    """Every check in the gate's order, one column for all names."""
    column = min(max((len(check.check) for check in checks), default=8), 20)
    return [line for check in checks for line in check_lines(check, width, glyphs, column=column)]


def estimate_lines(
    estimate: MemoryEstimate | None, memory: MemoryView, width: int, glyphs: Glyphs
) -> list[Line]:
    """What the load takes against what is free, and what that is made of."""
    if estimate is None:
        return [(Cell(" no estimate for this model", "dim"),)]
    free = free_of(memory)
    fits = estimate.total <= free
    needs = f" needs {size_text(estimate.total)}, {size_text(free)} free"
    first = (
        Cell(needs, "text" if fits else "warn"),
        Cell(f" of {size_text(memory.budget)}", "dim"),
    )
    if estimate.stated is not None:
        made = "as stated by an operator, on record"
    else:
        made = (
            f"weights {size_text(estimate.weights)}, cache {size_text(estimate.cache)} for "
            f"{estimate.context:,} tokens, overhead {size_text(estimate.overhead)}"
        )
    return [first, (Cell(" " + cut(made, width - 2, glyphs.ellipsis), "dim"),)]
