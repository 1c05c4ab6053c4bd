"""Everything known of one model, in lines: identity, canary, memory, timeline, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.line import Cell, Line, cut, left, right, tidy, width_of
from console.panels import canary_lines
from console.paragraph import labelled, paragraph, safe
from console.report import EVIDENCE_LIMIT, checks_lines, decision_lines, verdict_line
from console.room import free_of
from console.rows import speed_text
from console.status import LIVE, OVERRIDE, SIGNS, SIMULATED, Glyphs, sign_of, state_text
from console.units import bar_text, clock_text, moment_text, ms_text, size_text, span_text
from console.whereabouts import trouble_words
from console.wording import (
    ON_PROBATION,
    PROBATION,
    codes_of,
    drain_words,
    reason_words,
    version_words,
)
from engine import (
    Decision,
    Evidence,
    Explanation,
    HostState,
    HostView,
    MemoryView,
    ModelView,
    QuarantineView,
    Readiness,
    RegistryRow,
    Transition,
)

_MEASURE = 78
"""Columns after which a figure at the right edge is too far from its name to be read with it."""


@dataclass(slots=True)
class Dossier:
    """The lines, and at which of them each section begins."""

    lines: list[Line] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def open(self, section: str, title: str) -> None:
        """Begin a section under its heading."""
        if self.lines:
            self.lines.append(())
        self.places[section] = len(self.lines)
        self.lines.append((Cell(f" {title}", "head"),))


@dataclass(frozen=True, slots=True)
class Papers:
    """What is kept of a model outside its view. None is not known yet."""

    case: QuarantineView | None = None
    history: Sequence[RegistryRow] | None = None
    """Its rows in the registry, newest first."""
    explanation: Explanation | Decision | None = None
    """What the gate says of it now."""
    host: HostView | None = None
    """Where it is, if that could be elsewhere."""


def dossier_of(
    model: ModelView, papers: Papers, memory: MemoryView, width: int, now: float, glyphs: Glyphs
) -> Dossier:
    """Tell all of one model.

    Args:
        memory: Its host's, beside which the estimate is put.
        width: Columns.
        now: Unix seconds.
    """
    case = papers.case
    told = Dossier()
    told.places["model"] = 0
    told.lines += _state(model, papers.host, now, glyphs, width)
    if model.refusal is not None:
        told.open("refusal", "Refused")
        told.lines += decision_lines(model.refusal, width, glyphs)
    if case is not None:
        told.open("quarantine", "Quarantine")
        told.lines += _case(case, model.strike_limit, width, now, glyphs)
    told.open("identity", "Identity")
    told.lines += _identity(model, papers.host, width, glyphs)
    told.open("canary", "Canary")
    told.lines += canary_lines(model, min(width, _MEASURE), now, glyphs)
    if model.canary is not None and model.readiness in LIVE:
        told.lines += labelled("run at", clock_text(model.canary.started_at, now), width, "dim")
    told.open("history", "History in the registry")
    told.lines += _history(papers.history, model, width, now, glyphs)
    told.open("memory", "Memory")
    told.lines += _memory(model, memory, width, glyphs)
    told.open("timeline", "Timeline")
    told.lines += _timeline(model.transitions, width, now, glyphs)
    failures = case.evidence if case is not None and case.evidence else ()
    if not failures and model.evidence is not None:
        failures = (model.evidence,)
    told.open("admission", "Admission, as the gate sees it now")
    told.lines += _admission(papers.explanation, width, glyphs)
    told.open("evidence", "Evidence")
    if not failures:
        told.lines.append((Cell(" no failure is on record", "dim"),))
    newest_first = sorted(failures, key=lambda failure: -failure.at)
    for index, evidence in enumerate(newest_first):
        if index:
            told.lines.append(())
        rank = _rank(index, len(newest_first))
        told.lines += evidence_lines(evidence, width, now, glyphs, rank=rank)
    return told


def _rank(index: int, count: int) -> str:
    """Which one it is of the first, the worst and the last failure, which are kept."""
    if count < 2:
        return ""
    return "last" if index == 0 else "first" if index == count - 1 else "worst"


def _history(
    rows: Sequence[RegistryRow] | None, model: ModelView, width: int, now: float, glyphs: Glyphs
) -> list[Line]:
    if rows is None:
        return [(Cell(" reading the registry", "dim"),)]
    if not rows:
        return [(Cell(" nothing has been proved or refuted yet", "dim"),)]
    lines: list[Line] = []
    for row in rows:
        kind = tidy(str(row.metadata.get("event", "")), limit=20)
        version = version_words(row.backend_version, 16, glyphs.ellipsis)
        start = (
            Cell(f" {moment_text(row.ts, now)} ", "dim"),
            Cell(left(tidy(row.outcome), 5), "ok" if row.outcome == "pass" else "bad"),
            Cell(left(kind, 12), "text"),
            Cell(left(tidy(version, ascii_only=glyphs.ascii_only), 17), "dim"),
        )
        told = reason_words(row.reason, model.strike_limit)
        if took := _took(row):
            told = f"{told}, took {took}"
        reason = tidy(told, ascii_only=glyphs.ascii_only)
        rest = max(width - width_of(start) - 1, 6)
        lines.append((*start, Cell(cut(reason, rest, glyphs.ellipsis), "text")))
    return lines


def _took(row: RegistryRow) -> str:
    """How long a canary run took, from its steps; empty where the row does not say."""
    steps = row.metadata.get("steps")
    if not isinstance(steps, Mapping):
        return ""
    times = [step[1] for step in steps.values() if isinstance(step, list | tuple) and len(step) > 1]
    spent = sum(ms for ms in times if isinstance(ms, int | float))
    return ms_text(spent) if spent else ""


def _admission(answer: Explanation | Decision | None, width: int, glyphs: Glyphs) -> list[Line]:
    if answer is None:
        return [(Cell(" asking the gate", "dim"),)]
    if isinstance(answer, Decision):
        return decision_lines(answer, width, glyphs)
    return [verdict_line(answer, width, glyphs), *checks_lines(answer.checks, width, glyphs)]


def _state(
    model: ModelView, host: HostView | None, now: float, glyphs: Glyphs, width: int
) -> list[Line]:
    how = HostState.OK if host is None else host.state
    sign = sign_of(model, how)
    cells = [
        Cell(f" {glyphs.of(sign)} ", sign.style),
        Cell(tidy(state_text(model, now, how), ascii_only=glyphs.ascii_only), sign.style),
    ]
    if model.since and model.readiness is not Readiness.UNLOADED:
        cells.append(Cell(f"  since {clock_text(model.since, now).strip()}", "dim"))
    strikes = glyphs.strikes(model.strikes, min(model.strike_limit, 10))
    cells += [Cell("   strikes "), Cell(strikes, "bad" if model.strikes else "dim")]
    if model.requests:
        cells.append(Cell(f"   {model.requests} in flight"))
    if speed := speed_text(model):
        cells.append(Cell(f"   {speed} tok/s"))
    for badge, style, on in (
        (OVERRIDE, "badge", model.override),
        (PROBATION, "warn", model.probation),
        (SIMULATED, "sim", model.simulated),
    ):
        if on:
            cells += [Cell("   "), Cell(badge, style)]
    lines: list[Line] = [tuple(cells)]
    told = [f" {glyphs.dot} ".join(codes_of(model)), reason_words(model.reason, model.strike_limit)]
    text = safe(": ".join(part for part in told if part), glyphs, limit=1000)
    if text:
        lines += paragraph(text, width, "warn", indent=3)
    if host is not None and how is not HostState.OK:
        words = trouble_words(host, ascii_only=glyphs.ascii_only)
        lines += paragraph(words, width, "warn", indent=3)
    if draining := drain_words(model, now):
        lines += paragraph(draining, width, "busy", indent=3)
    if model.probation:
        again = f"{ON_PROBATION}: its next failure, or an unload, puts it back into quarantine"
        lines += paragraph(again, width, "warn", indent=3)
    return lines


def _identity(model: ModelView, host: HostView | None, width: int, glyphs: Glyphs) -> list[Line]:
    dot = f" {glyphs.dot} "
    context = dot.join(
        part
        for part in (
            f"{model.context:,} now" if model.context else "",
            f"{model.context_trained:,} trained" if model.context_trained else "",
        )
        if part
    )
    on = f"{model.backend.value}{dot}{model.backend_version or 'version unknown'}"
    lines: list[Line] = []
    for label, text in (
        ("id", model.id),
        ("host", host.name if host is not None else ""),
        ("path", model.path),
        ("backend", on),
        ("runtime", model.runtime),
        ("architecture", model.architecture or "unknown"),
        ("quantised", model.quantisation),
        ("context", context),
        ("on disk", size_text(model.weight_bytes)),
        ("worker", f"process {model.pid}" if model.pid is not None else ""),
        ("split", f"among {model.ranks} processes" if model.ranks > 1 else ""),
        ("chat", "" if model.chat else "no chat template: completions only"),
        ("build", "built on its first load" if model.buildable else ""),
    ):
        shown = tidy(text, ascii_only=glyphs.ascii_only, limit=600)
        lines += labelled(label, shown, width, "name" if label == "id" else "text")
    return lines


def _memory(model: ModelView, memory: MemoryView, width: int, glyphs: Glyphs) -> list[Line]:
    estimate = model.estimate
    measured = model.measured_bytes if model.readiness in LIVE else None
    lines: list[Line] = []
    most = max(estimate.total if estimate else 0, measured or 0, 1)
    room = max(min(width - 40, 30), 8)

    def gauge(label: str, size: int, style: str) -> Line:
        bar = bar_text(size / most, room, ascii_only=glyphs.ascii_only)
        amount = Cell(right(size_text(size), 8) + "  ", "text")
        return (Cell(f" {label:12}", "dim"), amount, Cell(bar, style))

    if estimate is not None:
        lines.append(gauge("estimate", estimate.total, "busy"))
        if model.readiness not in LIVE:
            lines += labelled("", "nothing is held: no worker runs", width, "dim")
    if measured is not None:
        over = estimate is not None and measured > estimate.total
        lines.append(gauge("measured", measured, "warn" if over else "ok"))
    if estimate is not None and estimate.stated is not None:
        lines += labelled("", "stated by an operator; it replaces the estimate", width, "warn")
    elif estimate is not None:
        cache = f"cache for {estimate.context:,} tokens" if estimate.context else "cache"
        for head, label, size in (
            ("made of", "weights", estimate.weights),
            ("", cache, estimate.cache),
            ("", "overhead", estimate.overhead),
        ):
            amount = right(size_text(size), 8)
            lines.append((Cell(f" {head:12}", "dim"), Cell(f"{amount}  {label}", "dim")))
    if lines and memory.budget:
        free = f"{size_text(free_of(memory))} of {size_text(memory.budget)}"
        lines += labelled("free now", free, width, "dim")
    return lines or [(Cell(" no estimate yet", "dim"),)]


def _timeline(
    transitions: Sequence[Transition], width: int, now: float, glyphs: Glyphs
) -> list[Line]:
    if not transitions:
        return [(Cell(" it has not moved since the engine started", "dim"),)]
    lines: list[Line] = []
    for index, step in enumerate(reversed(transitions)):
        newer = transitions[len(transitions) - index] if index else None
        stay = span_text((newer.at if newer else now) - step.at)
        sign = SIGNS[step.target]
        move = f"{step.source} {glyphs.arrow} {step.target}"
        start = (
            Cell(f" {moment_text(step.at, now)} ", "dim"),
            Cell(f"{glyphs.of(sign)} ", sign.style),
            Cell(left(move, 31), sign.style),
            Cell(right(stay, 8) + "  ", "dim"),
        )
        by = f" ({step.actor})" if step.actor else ""
        why = tidy(step.cause + by, ascii_only=glyphs.ascii_only)
        rest = max(width - 14 - 2 - 31 - 10 - 1, 6)
        lines.append((*start, Cell(cut(why, rest, glyphs.ellipsis), "text")))
    return lines


def _case(case: QuarantineView, limit: int, width: int, now: float, glyphs: Glyphs) -> list[Line]:
    reason = safe(reason_words(case.reason, limit), glyphs, limit=1000)
    lines = labelled("reason", reason, width, "bad")
    strikes = glyphs.strikes(case.strikes, min(limit, 10))
    since = f"{clock_text(case.since, now).strip()}, {span_text(now - case.since)} ago"
    lines += labelled("strikes", strikes, width, "bad")
    lines += labelled("since", since, width)
    if case.held:
        may = "held by an operator until it is released (r)"
    elif case.eligible_at > now:
        may = f"you may release it (r) in {span_text(case.eligible_at - now)}; earlier asks first"
    else:
        may = "you may release it now (r)"
    return lines + labelled("release", may, width, "warn")


def evidence_lines(
    evidence: Evidence, width: int, now: float, glyphs: Glyphs, *, rank: str = ""
) -> list[Line]:
    """One failure: cause, phase, how it ended, who was asking, the last words on stderr.

    Args:
        rank: Which of several it is, such as ``worst``.
    """
    lines: list[Line] = [
        (
            Cell(f" {moment_text(evidence.at, now)} ", "dim"),
            Cell(f"{rank}  " if rank else "", "dim"),
            Cell(tidy(evidence.cause, ascii_only=glyphs.ascii_only, limit=60), "bad"),
            Cell(f"  while {tidy(evidence.phase)}", "text"),
        )
    ]
    exit_text = evidence.signal or ""
    if evidence.exit_code is not None:
        exit_text = f"{exit_text} exit code {evidence.exit_code}".strip()
    version = f"{evidence.backend} {evidence.backend_version}".strip()
    for label, text in (
        ("detail", evidence.detail),
        ("ended by", exit_text),
        ("on", version),
        ("requests", "\n".join(evidence.requests)),
    ):
        lines += labelled(label, safe(text, glyphs, limit=2000), width)
    tail = safe(evidence.stderr_tail[-EVIDENCE_LIMIT:], glyphs).strip("\n")
    lines += labelled("stderr", tail, width, "warn")
    return lines
