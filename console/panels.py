"""The lines of the Canary, Quarantine and Registry panels."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache

from console.line import Cell, DrawnLines, Line, cut, left, shorten, spread, tidy, width_of
from console.paragraph import wrap
from console.status import LIVE, SIMULATED, STEP_SIGNS, Glyphs
from console.units import clock_text, ms_text, rate_text
from console.wording import (
    ON_PROBATION,
    broke_probation,
    reason_words,
    release_words,
    version_words,
)
from engine import (
    CanaryStep,
    CanaryView,
    ModelView,
    QuarantineView,
    Readiness,
    RegistryRow,
    StepResult,
)


def canary_title(model: ModelView | None, width: int, glyphs: Glyphs) -> str:
    """``Canary · NAME``; a simulated model says so."""
    if model is None:
        return "Canary"
    mark = f" {SIMULATED}" if model.simulated else ""
    name = tidy(model.id, ascii_only=glyphs.ascii_only)
    room = max(width - len(f"Canary {glyphs.dot} {mark}") - 4, 8)
    return f"Canary {glyphs.dot} {shorten(name, room, glyphs.ellipsis)}{mark}"


def canary_lines(
    model: ModelView | None, width: int, now: float, glyphs: Glyphs
) -> tuple[Line, ...]:
    """Each step with sign, name, detail and milliseconds, then the verdict.

    The run of a worker that is gone says first when it was; nothing of it runs any more.
    """
    if model is None:
        return ()
    run = model.canary
    if run is None:
        return ((Cell(cut(f" {_no_run(model)}", width, glyphs.ellipsis), "dim"),),)
    lines: list[Line] = []
    verdict = _verdict(run, glyphs)
    if _is_over(model):
        when = clock_text(run.ended_at or run.started_at, now).strip()
        told = f"ran {when}, {_ending(model)}"
        if run.passed is False and verdict is not None:
            told, verdict = f"ran {when} and {verdict.text}", None
        lines += [(Cell(" " + text, "warn"),) for text in wrap(told, max(width - 2, 8))]
    names = max((len(step.name) for step in run.steps), default=0)
    for step in run.steps:
        stopped = step.result is StepResult.RUNNING and _is_over(model)
        last = replace(step, result=StepResult.FAIL, detail="it ended here") if stopped else step
        lines += _step_lines(last, names, width, glyphs)
    if verdict is not None:
        shown = wrap(verdict.text, max(width - 2, 8))
        lines += [(Cell(" " + text, verdict.style),) for text in shown]
    return tuple(lines)


def _step_lines(step: CanaryStep, names: int, width: int, glyphs: Glyphs) -> list[Line]:
    """One step; what its detail has no room for goes on under it."""
    sign = STEP_SIGNS[step.result]
    waiting = step.result in (StepResult.PENDING, StepResult.SKIPPED)
    time = ms_text(step.ms)
    end = (Cell(time + " ", "dim"),) if time else (Cell(" "),)
    room = max(width - names - len(time) - 7, 8)
    first, *more = wrap(_detail(step, room, glyphs), room) or [""]
    start = (
        Cell(f" {glyphs.of(sign)} ", sign.style),
        Cell(left(tidy(step.name), names), "dim" if waiting else "text"),
        Cell("  " + first, _detail_style(step.result)),
    )
    under = " " * (names + 5)
    style = _detail_style(step.result)
    return [spread(start, end, width), *((Cell(under + text, style),) for text in more)]


_COUNTED = re.compile(r"^\d+ tok, (?=.* tok/s$)")
"""A count of tokens before a rate; the rate is what a narrow panel keeps."""


def _detail(step: CanaryStep, room: int, glyphs: Glyphs) -> str:
    detail = tidy(step.detail, ascii_only=glyphs.ascii_only, limit=160)
    if step.name == "handshake" and step.result is StepResult.PASS and detail:
        detail = "no device" if detail == "none" else f"on {detail}"
    if len(detail) <= room:
        return detail
    return _COUNTED.sub("", detail.replace(" of the estimate", " of estimate"))


def _is_over(model: ModelView) -> bool:
    """True if the worker that ran the canary is gone."""
    return model.readiness not in LIVE or model.retry_at is not None


def _no_run(model: ModelView) -> str:
    if model.retry_at is not None:
        return "its worker died; a new canary follows"
    if model.readiness in LIVE:
        return "its canary runs once it is loaded"
    return "no canary has run since the start"


_DEATHS = ("worker died or hung", "third strike")


def _ending(model: ModelView) -> str:
    """What became of the worker since its canary."""
    cause = model.transitions[-1].cause if model.transitions else ""
    if model.retry_at is not None or cause in _DEATHS:
        return "before it died"
    if cause == "held by an operator":
        return "before it was held"
    if model.readiness is Readiness.QUARANTINED:
        return "before quarantine"
    return "before it was unloaded"


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


_CASE_LINES = 3


def quarantine_lines(
    cases: Sequence[QuarantineView],
    width: int,
    now: float,
    glyphs: Glyphs,
    simulated: Collection[str] = (),
) -> Sequence[Line]:
    """Three lines for each quarantined model: who and why, the evidence, and what may be done.

    Args:
        simulated: The ids of the models that are not real.
    """
    if not cases:
        return ((Cell(cut(" nothing is quarantined", width), "dim"),),)

    @cache
    def lines_of(at: int) -> Sequence[Line]:
        case = cases[at]
        return _case_lines(case, width, now, glyphs, simulated=case.model_id in simulated)

    def draw(index: int) -> Line:
        at, part = divmod(index, _CASE_LINES + 1)
        return () if part == _CASE_LINES else lines_of(at)[part]

    return DrawnLines(len(cases) * (_CASE_LINES + 1) - 1, draw)


def _marked(
    model_id: str, width: int, style: str, glyphs: Glyphs, *, simulated: bool
) -> tuple[Cell, ...]:
    """A model's name in at most ``width`` columns, with ``sim`` behind one that is not real."""
    room = max(width - (len(SIMULATED) + 1 if simulated else 0), 4)
    name = shorten(tidy(model_id, ascii_only=glyphs.ascii_only), room, glyphs.ellipsis)
    return (Cell(name, style), Cell(f" {SIMULATED}", "sim")) if simulated else (Cell(name, style),)


def _case_lines(
    case: QuarantineView, width: int, now: float, glyphs: Glyphs, *, simulated: bool
) -> list[Line]:
    ascii_only = glyphs.ascii_only
    last = case.evidence[-1] if case.evidence else None
    cause = "held" if case.held else tidy(last.cause if last else "", ascii_only=ascii_only)
    when = clock_text(case.since, now).strip()
    when = when[:5] if ":" in when else when
    strikes = glyphs.strikes(case.strikes, 3) if case.strikes else ""
    end = f"{cut(cause, 14, glyphs.ellipsis)}  {when} ".lstrip()
    room = max(width - len(end) - len(strikes) - 4, 8)
    first = spread(
        (Cell(" "), *_marked(case.model_id, room, "name", glyphs, simulated=simulated)),
        (Cell(strikes, "bad"), Cell("  "), Cell(end, "text")),
        width,
    )
    reason = reason_words(case.reason)
    if last is not None:
        reason = last.requests[0] if last.requests else last.detail or reason
    if broke_probation(case) and ON_PROBATION not in reason:
        reason = f"{ON_PROBATION}: {reason}"
    may = release_words(case, now)
    text = tidy(reason, ascii_only=ascii_only)
    return [
        first,
        (Cell(" " + cut(text, width - 2, glyphs.ellipsis), "dim"),),
        (Cell(" " + cut(may, width - 2, glyphs.ellipsis), "warn"),),
    ]


def _registry_columns(width: int) -> tuple[int, int]:
    """Widths of model and version: the one place both rows and heads take them from."""
    # "mlx-lm 0.32.2" is 13 columns, "llama-cpp 0.3.36" 16.
    return min(max(width * 24 // 100, 12), 32), 16 if width >= 74 else 13


def registry_heading(width: int) -> Line:
    """The heads over :func:`registry_lines`."""
    name, version = _registry_columns(width)
    text = f" {'TIME':8} {'':5}{left('MODEL', name)}  {left('BACKEND', version)}  REASON"
    return (Cell(text, "head"),)


def registry_lines(
    rows: Sequence[RegistryRow], width: int, now: float, glyphs: Glyphs
) -> Sequence[Line]:
    """One line for each record, newest first: time, outcome, model, version, reason."""
    if not rows:
        return ((Cell(cut(" nothing has been proved or refuted yet", width), "dim"),),)
    columns = _registry_columns(width)
    return DrawnLines(
        len(rows), lambda index: _registry_line(rows[index], columns, width, now, glyphs)
    )


def _registry_line(
    row: RegistryRow, widths: tuple[int, int], width: int, now: float, glyphs: Glyphs
) -> Line:
    name, version = widths
    passed = row.outcome == "pass"
    simulated = row.backend == "simulated"
    model = _marked(row.model_id, name, "text", glyphs, simulated=simulated)
    ran_on = version_words(row.backend_version, version, glyphs.ellipsis)
    if glyphs.ascii_only:
        ran_on = tidy(ran_on, ascii_only=True)
    cells = (
        Cell(" " + clock_text(row.ts, now) + " ", "dim"),
        Cell(left(tidy(row.outcome), 5), "ok" if passed else "bad"),
        *model,
        Cell(" " * (name - width_of(model) + 2)),
        Cell(left(ran_on, version) + "  ", "sim" if simulated else "dim"),
    )
    used = 1 + 8 + 1 + 5 + name + 2 + version + 2
    reason = tidy(row.reason, ascii_only=glyphs.ascii_only)
    return (*cells, Cell(cut(reason, max(width - used - 1, 0), glyphs.ellipsis), "text"))
