"""The rows of the Models panel and the columns they stand in."""

from dataclasses import dataclass

from console.line import Cell, Line, cut, left, right, shorten, tidy, width_of
from console.status import LIVE, OVERRIDE, SIMULATED, Glyphs, sign_of, state_text
from console.units import age_text, context_text, rate_text, size_text
from console.wording import PROBATION
from engine import Backend, ModelView, Readiness

_STATE = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths of the columns that come and go with the terminal's; 0 leaves one out."""

    name: int
    requests: int = 4
    speed: int = 7
    measured: int = 0
    context: int = 0
    idle: int = 0


# Lead " ● ", then gap + width of ON, MEM, STATE, STR, and a blank at the end.
_FIXED = 3 + (1 + 4) + (1 + 7) + (2 + _STATE) + (1 + 3) + 1
_NAME_MIN, _NAME_AMPLE, _NAME_LEAST = 20, 30, 8
_EXTRAS = (("measured", 8), ("context", 6), ("idle", 6))


def columns_for(width: int) -> Columns:
    """Share ``width`` columns out: a narrow terminal loses the figures, a wide one gains some."""
    widths = {"speed": 7, "requests": 4}
    name = width - _FIXED - sum(widths.values())
    for figure in ("speed", "requests"):
        if name < _NAME_MIN:
            name += widths[figure]
            widths[figure] = 0
    for extra, wanted in _EXTRAS:
        if name - wanted < _NAME_AMPLE:
            break
        widths[extra] = wanted
        name -= wanted
    return Columns(max(name, 8), **widths)


def heading(width: int) -> Line:
    """The column heads."""
    columns = columns_for(width)
    text = "   " + left("MODEL", columns.name) + " " + left("ON", 4) + " " + right("MEM", 7)
    if columns.measured:
        text += right("MEAS", columns.measured)
    text += "  " + left("STATE", _STATE) + " STR"
    for title, wide in (
        ("REQ", columns.requests),
        ("TOK/S", columns.speed),
        ("CTX", columns.context),
        ("IDLE", columns.idle),
    ):
        text += right(title, wide) if wide else ""
    return (Cell(text, "head"),)


def speed_text(model: ModelView) -> str:
    """Tokens per second of a model that answers; an old figure is none."""
    routable = model.readiness is Readiness.ROUTABLE
    return rate_text(model.tokens_per_second) if routable else ""


_MEM = 7
_UNPROVED = (Readiness.LOADING, Readiness.CANARY_PENDING)
"""Their state takes the whole of its column: probation is a badge there, else a word of it."""


def _badges(model: ModelView) -> tuple[tuple[str, str], ...]:
    """Text and style of each mark beside the name."""
    badges = []
    if model.override:
        badges.append((OVERRIDE, "badge"))
    if model.probation and model.readiness in _UNPROVED:
        badges.append((PROBATION, "warn"))
    if model.simulated and model.backend is not Backend.SIMULATED:
        badges.append((SIMULATED, "sim"))
    return tuple(badges)


def _memory(model: ModelView) -> str:
    """What a model holds of the budget; with a ``~`` what it would take, since it holds nothing."""
    held = model.readiness in LIVE
    size = model.estimate.total if model.estimate is not None else model.weight_bytes
    text = size_text(size) if held else f"~{size_text(size)}"
    return text if len(text) <= _MEM else text.replace(" ", "").replace(",", "")


def model_row(model: ModelView, width: int, now: float, glyphs: Glyphs) -> Line:
    """One model: glyph, name, badges, backend, memory, state, strikes, requests, speed."""
    columns = columns_for(width)
    sign = sign_of(model)
    live = model.readiness is not Readiness.UNLOADED
    name = tidy(model.id, ascii_only=glyphs.ascii_only)
    # Few styles in a row: each run of another one costs bytes at every repaint.
    quiet = "text" if live else "idle"
    badges = _badges(model)
    room = columns.name - sum(len(badge) + 1 for badge, _ in badges)
    if room < _NAME_LEAST:  # a mark of four letters is better than a name of none
        badges = tuple((badge[:4], style) for badge, style in badges)
        room = columns.name - sum(len(badge) + 1 for badge, _ in badges)
    cells = [
        Cell(f" {glyphs.of(sign)} ", sign.style),
        Cell(left(shorten(name, room, glyphs.ellipsis), room), quiet),
    ]
    for badge, style in badges:
        cells += [Cell(" "), Cell(badge, style)]
    on = SIMULATED if model.backend is Backend.SIMULATED else model.backend.value
    cells.append(Cell(" " + left(on, 4), "sim" if on == SIMULATED else quiet))
    cells.append(Cell(" " + right(_memory(model), _MEM), quiet))
    if columns.measured:
        measured = size_text(model.measured_bytes) if model.readiness in LIVE else ""
        cells.append(Cell(right(measured, columns.measured), "text"))
    state = tidy(state_text(model, now), ascii_only=glyphs.ascii_only)
    if not live and not model.strikes:
        rest = width - width_of(cells) - 3
        cells.append(Cell("  " + cut(state, max(rest, _STATE), glyphs.ellipsis), sign.style))
        return tuple(cells)
    cells.append(Cell("  " + left(state, _STATE, glyphs.ellipsis), sign.style))
    strikes = glyphs.strikes(model.strikes, min(model.strike_limit, 3))
    cells.append(Cell(" " + left(strikes, 3), "bad" if model.strikes else "text"))
    idle = "" if model.idle_since is None else age_text(now - model.idle_since)
    for figure, wide, style in (
        (str(model.requests or ""), columns.requests, "text"),
        (speed_text(model), columns.speed, "text"),
        (context_text(model.context), columns.context, "text"),
        (idle, columns.idle, "text"),
    ):
        if wide:
            cells.append(Cell(right(figure, wide), style))
    return tuple(cells)
