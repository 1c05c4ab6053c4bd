"""The lines of the Canary, Quarantine and Registry panels."""

from collections.abc import Sequence

from console.line import Cell, Line, cut, left, shorten, spread, tidy
from console.status import SIMULATED, STEP_SIGNS, Glyphs
from console.units import clock_text, ms_text, rate_text, span_text
from engine import CanaryView, ModelView, QuarantineView, RegistryRow, StepResult


def canary_title(model: ModelView | None, width: int, glyphs: Glyphs) -> str:
    """``Canary · NAME``; a simulated model says so."""
    if model is None:
        return "Canary"
    mark = f" {SIMULATED}" if model.simulated else ""
    name = tidy(model.id, ascii_only=glyphs.ascii_only)
    room = max(width - len(f"Canary {glyphs.dot} {mark}") - 4, 8)
    return f"Canary {glyphs.dot} {shorten(name, room, glyphs.ellipsis)}{mark}"


def canary_lines(model: ModelView | None, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """One line for each step: sign, name, detail, milliseconds; then the verdict."""
    if model is None:
        return ()
    run = model.canary
    if run is None:
        return ((Cell(cut(" no canary has run", width), "dim"),),)
    names = max((len(step.name) for step in run.steps), default=0)
    lines = []
    for step in run.steps:
        sign = STEP_SIGNS[step.result]
        waiting = step.result in (StepResult.PENDING, StepResult.SKIPPED)
        time = ms_text(step.ms)
        end = (Cell(time + " ", "dim"),) if time else (Cell(" "),)
        room = max(width - names - len(time) - 7, 0)
        detail = tidy(step.detail, ascii_only=glyphs.ascii_only)
        start = (
            Cell(f" {glyphs.of(sign)} ", sign.style),
            Cell(left(tidy(step.name), names), "dim" if waiting else "text"),
            Cell("  " + cut(detail, room, glyphs.ellipsis), _detail_style(step.result)),
        )
        lines.append(spread(start, end, width))
    verdict = _verdict(run, glyphs)
    if verdict is not None:
        text = " " + cut(verdict.text, width - 2, glyphs.ellipsis)
        lines.append((Cell(text, verdict.style),))
    return tuple(lines)


def _detail_style(result: StepResult) -> str:
    return {StepResult.FAIL: "bad", StepResult.WARN: "warn"}.get(result, "dim")


def _verdict(run: CanaryView, glyphs: Glyphs) -> Cell | None:
    if run.passed is None:
        return None
    if not run.passed:
        return Cell(f"failed: {tidy(run.reason, ascii_only=glyphs.ascii_only)}", "bad")
    parts = ["passed"]
    if run.tokens_per_second is not None:
        parts.append(f"{rate_text(run.tokens_per_second)} tok/s")
    if run.ttft_ms is not None:
        parts.append(f"ttft {ms_text(run.ttft_ms)}")
    return Cell(f" {glyphs.dot} ".join(parts), "ok")


def quarantine_lines(
    cases: Sequence[QuarantineView], width: int, now: float, glyphs: Glyphs
) -> tuple[Line, ...]:
    """Three lines for each quarantined model: who and why, the evidence, and what may be done."""
    if not cases:
        return ((Cell(cut(" nothing is quarantined", width), "dim"),),)
    lines: list[Line] = []
    for case in cases:
        if lines:
            lines.append(())
        lines += _case_lines(case, width, now, glyphs)
    return tuple(lines)


def _case_lines(case: QuarantineView, width: int, now: float, glyphs: Glyphs) -> list[Line]:
    ascii_only = glyphs.ascii_only
    last = case.evidence[-1] if case.evidence else None
    cause = "held" if case.held else tidy(last.cause if last else "", ascii_only=ascii_only)
    when = clock_text(case.since, now).strip()
    when = when[:5] if ":" in when else when
    strikes = glyphs.strikes(case.strikes, 3)
    end = f"{cut(cause, 14, glyphs.ellipsis)}  {when} ".lstrip()
    room = max(width - len(end) - len(strikes) - 4, 8)
    name = shorten(tidy(case.model_id, ascii_only=ascii_only), room, glyphs.ellipsis)
    first = spread(
        (Cell(" "), Cell(name, "name")),
        (Cell(strikes, "bad"), Cell("  "), Cell(end, "text")),
        width,
    )
    reason = case.reason
    if last is not None:
        reason = last.requests[0] if last.requests else last.detail or case.reason
    if case.held:
        may = "held by an operator; release (r)"
    elif case.eligible_at > now:
        may = f"you may release (r) in {span_text(case.eligible_at - now)}"
    else:
        may = "you may release it now (r)"
    text = tidy(reason, ascii_only=ascii_only)
    return [
        first,
        (Cell(" " + cut(text, width - 2, glyphs.ellipsis), "dim"),),
        (Cell(" " + cut(may, width - 2, glyphs.ellipsis), "warn"),),
    ]


def registry_lines(
    rows: Sequence[RegistryRow], width: int, now: float, glyphs: Glyphs
) -> tuple[Line, ...]:
    """One line for each record, newest first: time, outcome, model, version, reason."""
    if not rows:
        return ((Cell(cut(" nothing has been proved or refuted yet", width), "dim"),),)
    name_width = min(max(width * 24 // 100, 12), 32)
    # "mlx-lm 0.32.2" is 13 columns, "llama.cpp 0.3.36" 16: a version is worth nothing cut.
    version_width = 16 if width >= 74 else 13
    return tuple(
        _registry_line(row, (name_width, version_width), width, now, glyphs) for row in rows
    )


def _registry_line(
    row: RegistryRow, widths: tuple[int, int], width: int, now: float, glyphs: Glyphs
) -> Line:
    def fit(text: str, columns: int) -> str:
        return left(tidy(text, ascii_only=glyphs.ascii_only), columns, glyphs.ellipsis)

    name, version = widths
    passed = row.outcome == "pass"
    model = shorten(tidy(row.model_id, ascii_only=glyphs.ascii_only), name, glyphs.ellipsis)
    version_text = row.backend_version.split(",")[0]
    cells = (
        Cell(" " + clock_text(row.ts, now) + " ", "dim"),
        Cell(left(tidy(row.outcome), 5), "ok" if passed else "bad"),
        Cell(left(model, name) + "  ", "text"),
        Cell(fit(version_text, version) + "  ", "sim" if row.backend == "simulated" else "dim"),
    )
    used = 1 + 8 + 1 + 5 + name + 2 + version + 2
    reason = tidy(row.reason, ascii_only=glyphs.ascii_only)
    return (*cells, Cell(cut(reason, max(width - used - 1, 0), glyphs.ellipsis), "text"))
