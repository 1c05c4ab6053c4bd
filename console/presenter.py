"""From an engine snapshot to the lines of the dashboard: pure, and ignorant of any screen library.

Everything a screen shows of foreign text passes ``tidy`` here.
"""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from console.line import Cell, DrawnLines, Line, cut, shorten, spread, tidy, width_of
from console.panels import canary_lines, canary_title, quarantine_lines, registry_lines
from console.rows import columns_for, heading, model_row
from console.search import search_of
from console.status import LIVE, SIMULATED, Glyphs, sign_of
from console.units import clock_text, size_text
from console.whereabouts import NOWHERE, Whereabouts, plain_id, trouble_words, whereabouts
from console.wording import (
    ON_PROBATION,
    codes_of,
    drain_words,
    reason_words,
    release_words,
)
from engine import EngineSnapshot, HostState, ModelView, QuarantineView, Readiness

STALE_S = 3.0
"""Silence of the engine after which nothing on screen counts as live."""

_NAMED = 5
START = "start"
"""The id of the notice that the engine did not start."""

SORTS = ("name", "state", "size")
_RANK = {
    Readiness.ROUTABLE: 0,
    Readiness.CANARY_PENDING: 1,
    Readiness.LOADING: 2,
    Readiness.ADMITTED: 3,
    Readiness.QUARANTINED: 4,
    Readiness.UNLOADED: 5,
}


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the console's contact with the engine is: its age in seconds, and what runs."""

    age_s: float = 0.0
    paused: bool = False
    readonly: bool = False
    error: str = ""
    down: bool = False
    """Whether the engine could not be started."""
    attached: str = ""
    """Where the engine answers, if it runs in another process."""

    @property
    def stale(self) -> bool:
        """Too old to be called live."""
        return self.age_s > STALE_S


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What the operator chose to see. ``now`` is in Unix seconds, widths in columns."""

    width: int
    side_width: int
    note_width: int
    now: float
    filter: str = ""
    sort: str = "name"
    order: tuple[str, ...] = ()
    """The ids as they stood when the operator last sorted: rows do not jump by themselves."""
    selected: str | None = None
    seen: tuple[ModelView, ...] | None = None
    """What :func:`visible` finds with these options, where the caller knows it."""
    glyphs: Glyphs = field(default_factory=Glyphs)


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything the dashboard's panels show, line by line."""

    ids: tuple[str, ...]
    """Model ids in the order of ``rows``."""
    heading: Line
    rows: Sequence[Line]
    note: tuple[Line, ...]
    models_title: str
    models_subtitle: str
    canary_title: str
    canary: tuple[Line, ...]
    quarantine_title: str
    quarantine: Sequence[Line]
    registry_subtitle: str
    registry: Sequence[Line]


def arrange(
    models: tuple[ModelView, ...], sort: str, order: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Put the ids in order; an ``order`` that already holds exactly these ids is kept."""
    if len(order) == len(models) and {model.id for model in models} == set(order):
        return order
    if sort == "state":
        ranked = sorted(models, key=lambda m: (_RANK[m.readiness], m.id.casefold(), m.id))
    elif sort == "size":
        ranked = sorted(models, key=lambda m: (-m.weight_bytes, m.id.casefold(), m.id))
    else:
        ranked = sorted(models, key=lambda m: (m.id.casefold(), m.id))
    return tuple(model.id for model in ranked)


def visible(snapshot: EngineSnapshot, options: ViewOptions) -> tuple[ModelView, ...]:
    """The models of the list: in the operator's order, filtered by every word of the filter.

    A word matches the id, the backend or the state; ``host:NAME`` the models of a host.
    """
    by_id = {model.id: model for model in snapshot.models}
    if not options.filter.strip():
        return tuple(by_id[i] for i in options.order if i in by_id)
    search, where = search_of(options.filter, snapshot.hosts), whereabouts(snapshot)

    def wanted(model: ModelView) -> bool:
        word = sign_of(model, where.state(model)).word
        text = f"{model.id} {model.backend} {model.readiness} {word}".casefold()
        return search.finds(model, text)

    return tuple(by_id[i] for i in options.order if i in by_id and wanted(by_id[i]))


def beat(snapshot: EngineSnapshot) -> Hashable:
    """Everything of a snapshot that is a state and not a figure.

    When it changes the screen repaints at once; figures wait for the next whole second, which
    keeps a slow line quiet.
    """
    models = tuple(
        (
            *(m.id, m.readiness, m.version, m.refusal, m.strikes, m.override, m.probation),
            *(m.draining, m.draining and m.requests, m.retry_at, m.reason, m.stage, m.chat),
            m.canary and tuple((s.name, s.result) for s in m.canary.steps),
            m.canary and m.canary.passed,
        )
        for m in snapshot.models
    )
    last_event = snapshot.events[-1].seq if snapshot.events else 0
    first_row = snapshot.registry[0] if snapshot.registry else None
    return (
        *(models, snapshot.quarantine, last_event, snapshot.registry_total),
        *(first_row and (first_row.ts, first_row.model_id), snapshot.started, snapshot.stopping),
        *(snapshot.notices, snapshot.runtimes, snapshot.api),
        tuple((host.name, host.state) for host in snapshot.hosts),
    )


_LATELY_S = 2.0
"""A screen that is drawn once a second has shown the end of a countdown by then."""


def moment(snapshot: EngineSnapshot, width: int, now: float) -> Hashable:
    """All that the clock alone changes in a picture: two equal moments of one snapshot draw alike.

    Args:
        width: Columns of the models' rows; a wide one tells how long a model has been idle.
    """
    counting = (
        any(m.retry_at is not None or m.drain_until is not None for m in snapshot.models)
        or any(not c.held and c.eligible_at > now - _LATELY_S for c in snapshot.quarantine)
        or (
            columns_for(width, whereabouts(snapshot)).idle
            and any(m.idle_since is not None for m in snapshot.models)
        )
    )
    return now if counting else time.localtime(now)[:3]  # times of other days are told as dates


def present(snapshot: EngineSnapshot, options: ViewOptions) -> Picture:
    """Draw the dashboard's panels."""
    glyphs = options.glyphs
    models = visible(snapshot, options) if options.seen is None else options.seen
    chosen = snapshot.model(options.selected) if options.selected else None
    side, where = options.side_width, whereabouts(snapshot)

    def draw(index: int) -> Line:
        return model_row(models[index], options.width, options.now, glyphs, where)

    count = len(snapshot.quarantine)
    return Picture(
        ids=tuple(model.id for model in models),
        heading=heading(options.width, where),
        rows=DrawnLines(len(models), draw) if models else (_empty(snapshot, options),),
        note=note_lines(chosen, options, snapshot.case(options.selected or ""), where),
        models_title=f"Models {len(models)}/{len(snapshot.models)}" if options.filter else "Models",
        models_subtitle=f"filter: {tidy(options.filter, limit=30)}" if options.filter else "",
        canary_title=canary_title(chosen, side, glyphs),
        canary=canary_lines(chosen, side, options.now, glyphs),
        quarantine_title=f"Quarantine {count}" if count > 1 else "Quarantine",
        quarantine=quarantine_lines(
            snapshot.quarantine, side, options.now, glyphs, simulated_ids(snapshot)
        ),
        registry_subtitle="",
        registry=registry_lines(snapshot.registry, options.width, options.now, glyphs),
    )


def simulated_ids(snapshot: EngineSnapshot) -> frozenset[str]:
    """The models that are not real and say so wherever their name is shown."""
    return frozenset(model.id for model in snapshot.models if model.simulated)


def _empty(snapshot: EngineSnapshot, options: ViewOptions) -> Line:
    if not snapshot.started:
        down = any(notice.id == START for notice in snapshot.notices)
        text = "the engine did not start; L shows why in full" if down else "starting the engine"
        return (Cell(f" {text}", "bad" if down else "dim"),)
    if snapshot.models:
        why = tidy(_nothing(snapshot, options.filter), ascii_only=options.glyphs.ascii_only)
        text = f" {why} (esc clears it)"
        return (Cell(cut(text, options.width, options.glyphs.ellipsis), "dim"),)
    return (Cell(cut(" no models found: name a folder in config.toml, f5 looks again",
                     options.width, options.glyphs.ellipsis), "dim"),)  # fmt: skip


def _nothing(snapshot: EngineSnapshot, typed: str) -> str:
    """Why the filter lets nothing through."""
    unknown = search_of(typed, snapshot.hosts).unknown
    if not unknown:
        return "nothing matches the filter"
    names = [host.name for host in snapshot.hosts]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    there = f", only {', '.join(names[:_NAMED])}{more}" if names else ""
    return f"no host is named {cut(unknown[0], 20)}{there}"


def note_lines(
    model: ModelView | None,
    options: ViewOptions,
    case: QuarantineView | None = None,
    where: Whereabouts = NOWHERE,
) -> tuple[Line, ...]:
    """Two lines about the selected model: what is wrong and the remedy, or what it is and where.

    The id is given whole here, since its row may have had to shorten it.

    Args:
        case: Its quarantine, if it is in one.
        where: The hosts.
    """
    if model is None:
        return ()
    glyphs, width = options.glyphs, options.note_width
    dot = f" {glyphs.dot} "

    def say(style: str, *parts: str) -> Line:
        text = tidy(dot.join(part for part in parts if part), ascii_only=glyphs.ascii_only)
        return (Cell(" " + cut(text, width - 2, glyphs.ellipsis), style),)

    context = model.context or model.context_trained
    facts = say(
        "dim",
        f"{model.id} {SIMULATED}" if model.simulated else model.id,
        f"on {model.host}" if where.widest and plain_id(model) == model.id else "",
        model.architecture,
        model.quantisation,
        f"{context:,} context" if context else "",
        "" if model.chat else "no chat template, completions only",
        "built on its first load" if model.buildable else "",
        # What the row's "~" means.
        "" if model.readiness in LIVE else f"would take {size_text(_needed(model))}",
    )
    reason = reason_words(model.reason, model.strike_limit)
    if (host := where.troubled.get(model.host)) is not None:
        # What was lost with its host says more than that the host is.
        own = model.readiness is Readiness.QUARANTINED or (host.state is HostState.LOST and reason)
        if not own:
            return say("warn", trouble_words(host)), facts
    codes = dot.join(codes_of(model))
    if model.refusal is not None and model.readiness is Readiness.UNLOADED:
        key = "o overrides" if model.refusal.overridable else ""
        coded = f"{codes}: {model.refusal.message}"
        told = coded if len(coded) <= width - 2 else model.refusal.message  # the row names it too
        return say("refused", told), say("warn", model.refusal.remedy, key)
    if model.readiness is Readiness.QUARANTINED:
        remedy = model.refusal.remedy if model.refusal is not None else ""
        may = release_words(case, options.now) if case is not None else ""
        return say("warn", f"{codes}: {reason}" if reason else codes), (
            say("warn", may, remedy) if may or remedy else facts
        )
    if draining := drain_words(model, options.now):
        return say("busy", draining), facts
    if reason:
        died = "worker died: " if model.retry_at is not None else ""
        return say("warn", died + reason), facts
    if model.probation:
        return say("warn", f"{ON_PROBATION}: its next failure quarantines it again"), facts
    if model.evidence is not None:
        return say("warn", f"last failure: {model.evidence.cause}", model.evidence.detail), facts
    return facts, say("dim", model.backend_version, model.path)


def _needed(model: ModelView) -> int:
    return model.estimate.total if model.estimate is not None else model.weight_bytes


def event_line(
    ts: float,
    model_id: str,
    message: str,
    level: str,
    width: int,
    now: float,
    glyphs: Glyphs,
    *,
    actor: str = "",
    simulated: bool = False,
) -> Line:
    """One piece of news: time, model, what happened.

    Args:
        actor: Who did it, at the right edge; the message gives way for it. Empty for nobody.
        simulated: Whether the model is not real.
    """
    style = {"warn": "warn", "error": "bad"}.get(level, "text")
    cells = [Cell(" " + clock_text(ts, now) + "  ", "dim")]
    message = tidy(message, ascii_only=glyphs.ascii_only)
    if model_id and not message.startswith(model_id):
        name = tidy(model_id, ascii_only=glyphs.ascii_only)
        cells.append(Cell(shorten(name, 28, glyphs.ellipsis), "name"))
    if simulated:
        cells.append(Cell(f" {SIMULATED}" if len(cells) > 1 else SIMULATED, "sim"))
    if len(cells) > 1:
        cells.append(Cell("  "))
    by = cut(tidy(actor, ascii_only=glyphs.ascii_only), max(width // 4, 8), glyphs.ellipsis)
    room = width - width_of(cells) - (cell_len(by) + 2 if by else 0) - 1
    cells.append(Cell(cut(message, max(room, 0), glyphs.ellipsis), style))
    return spread(tuple(cells), (Cell(by + " ", "dim"),), width) if by else tuple(cells)
