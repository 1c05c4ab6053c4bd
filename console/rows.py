"""The rows of the Models panel and the columns they stand in."""

from dataclasses import dataclass

from console.line import Cell, Line, cut, left, right, shorten, tidy, width_of
from console.status import LIVE, OVERRIDE, SIMULATED, Glyphs, sign_of, state_text
from console.units import age_text, context_text, rate_text, size_text
from console.whereabouts import NOWHERE, Whereabouts, plain_id, short_names
from console.wording import PROBATION
from engine import Backend, HostState, ModelView, Readiness

_STATE = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths of the columns that come and go with the terminal's; 0 leaves one out."""

    name: int
    host: int = 0
    """The blank before it included."""
    requests: int = 4
    speed: int = 7
    measured: int = 0
    context: int = 0
    idle: int = 0


# Lead " ● ", then gap + width of ON, MEM, STATE, STR, and a blank at the end.
_FIXED = 3 + (1 + 4) + (1 + 7) + (2 + _STATE) + (1 + 3) + 1
_NAME_MIN, _NAME_AMPLE, _NAME_LEAST = 20, 30, 8
_EXTRAS = (("measured", 8), ("context", 6), ("idle", 6))
_HOST_LEAST, _HOST_MOST, _NAME_BESIDE_HOST = 4, 10, 12


def columns_for(width: int, where: Whereabouts = NOWHERE) -> Columns:
    """Share ``width`` columns out: a narrow terminal loses the figures, a wide one gains some.

    A lone host takes none. In the narrowest window the hosts go before the names have no room:
    the note still tells the host.
    """
    host = min(max(where.widest, _HOST_LEAST), _HOST_MOST) + 1 if where.widest else 0
    widths = {"speed": 7, "requests": 4}
    name = width - _FIXED - host - sum(widths.values())
    for figure in ("speed", "requests"):
        if name < _NAME_MIN:
            name += widths[figure]
            widths[figure] = 0
    if host and name < _NAME_BESIDE_HOST:
        return columns_for(width)
    for extra, wanted in _EXTRAS:
        if name - wanted < _NAME_AMPLE:
            break
        widths[extra] = wanted
        name -= wanted
    return Columns(max(name, 8), host, **widths)


def heading(width: int, where: Whereabouts = NOWHERE) -> Line:
    """The column heads."""
    columns = columns_for(width, where)
    text = "   " + left("MODEL", columns.name)
    text += left(" HOST", columns.host) if columns.host else ""
    text += " " + left("ON", 4) + " " + right("MEM", 7)
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


def model_row(
    model: ModelView, width: int, now: float, glyphs: Glyphs, where: Whereabouts = NOWHERE
) -> Line:
    """One model: glyph, name, badges, host, backend, memory, state, strikes, requests, speed."""
    columns = columns_for(width, where)
    host = where.state(model)
    sign = sign_of(model, host)
    live = model.readiness is not Readiness.UNLOADED
    name = tidy(plain_id(model) if columns.host else model.id, ascii_only=glyphs.ascii_only)
    # Few styles in a row: each run of another one costs bytes at every repaint.
    told = "text" if host is HostState.OK else "idle"
    quiet = told if live else "idle"
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
    if columns.host:
        room = columns.host - 1
        called = short_names(where.names, room, glyphs).get(model.host, "")
        cells.append(Cell(" " + left(called, room), quiet))
    on = SIMULATED if model.backend is Backend.SIMULATED else model.backend.value
    cells.append(Cell(" " + left(on, 4), "sim" if on == SIMULATED else quiet))
    cells.append(Cell(" " + right(_memory(model), _MEM), quiet))
    if columns.measured:
        measured = size_text(model.measured_bytes) if model.readiness in LIVE else ""
        cells.append(Cell(right(measured, columns.measured), told))
    state = tidy(state_text(model, now, host), ascii_only=glyphs.ascii_only)
    if not live and not model.strikes:
        rest = width - width_of(cells) - 3
        cells.append(Cell("  " + cut(state, max(rest, _STATE), glyphs.ellipsis), sign.style))
        return tuple(cells)
    cells.append(Cell("  " + left(state, _STATE, glyphs.ellipsis), sign.style))
    strikes = glyphs.strikes(model.strikes, min(model.strike_limit, 3))
    cells.append(Cell(" " + left(strikes, 3), "bad" if model.strikes else told))
    heard = host is HostState.OK
    idle = "" if model.idle_since is None else age_text(now - model.idle_since)
    for figure, wide in (
        (str(model.requests or ""), columns.requests),
        (speed_text(model) if heard else "", columns.speed),
        (context_text(model.context), columns.context),
        (idle if heard else "", columns.idle),
    ):
        if wide:
            cells.append(Cell(right(figure, wide), told))
    return tuple(cells)
