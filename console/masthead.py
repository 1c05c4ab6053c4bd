"""The top of every screen: who, how fresh, memory, runtimes, and the lasting banners under it."""

from rich.cells import cell_len

from console.line import Cell, Line, cut, tidy, width_of
from console.paragraph import wrap
from console.presenter import Pulse
from console.status import HOST_SIGNS, SIGNS, Glyphs
from console.units import bar_text, size_text, span_text
from console.whereabouts import missed, short_names
from console.wording import version_words
from engine import Backend, EngineSnapshot, HostState, Notice, Readiness


def header_line(
    snapshot: EngineSnapshot,
    pulse: Pulse,
    width: int,
    period_s: float,
    glyphs: Glyphs,
    now: float,
) -> Line:
    """The top line: who, how fresh, memory, runtimes, API, and what an operator must not miss.

    Args:
        period_s: The pump's period; an age below it is as fresh as it gets.
        now: Unix seconds.
    """
    ascii_only = glyphs.ascii_only
    parts: list[tuple[int, Line]] = [(0, (Cell(" LMX ", "brand"),))]

    def add(rank: int, *cells: Cell) -> None:
        parts.append((rank, cells))

    host = tidy(snapshot.host, ascii_only=ascii_only, limit=24)
    others = len(snapshot.hosts) - 1
    if host:
        add(2, Cell(host, "name"), *([Cell(f" +{others}", "dim")] if others > 0 else ()))
    if pulse.stale:
        add(0, Cell(f" STALE {span_text(pulse.age_s)} ", "alarm"))
    elif snapshot.stopping:
        add(0, Cell("engine stopping", "warn"))
    elif not snapshot.started:
        down = Cell("engine down", "bad")
        add(0, down if pulse.down else Cell("engine starting", "busy"))
    else:
        add(3, Cell("engine ", "dim"), Cell(f"{max(pulse.age_s, period_s):.1f} s"))
    everywhere = tuple(host.name for host in snapshot.hosts)
    stale = tuple(host.name for host in snapshot.hosts if host.state is HostState.STALE)
    lost = missed(snapshot, now)
    for rank, state, names in ((0, HostState.STALE, stale), (2, HostState.LOST, lost)):
        if names:
            add(rank, *_troubled(names, state, everywhere, glyphs))
    memory = snapshot.memory
    if memory.budget > 0:
        share = memory.reserved / memory.budget
        style = "warn" if share > 0.9 else "ok"
        add(
            1,
            Cell("mem ", "dim"),
            Cell(bar_text(share, 10, ascii_only=ascii_only), style),
            Cell(f" {share * 100:.0f} %"),
            Cell(f" of {size_text(memory.budget)}", "dim"),
        )
    played = max((m.backend_version for m in snapshot.models if m.simulated), default="")
    for runtime in snapshot.runtimes:
        simulated = runtime.backend is Backend.SIMULATED
        if simulated and not played:
            continue  # nobody needs to know of a backend that nothing here runs on
        version = played if simulated else runtime.version or runtime.name
        text = tidy(version_words(version, 40, glyphs.ellipsis), ascii_only=ascii_only)
        if runtime.error:
            add(4, Cell(f"{text} unavailable", "warn"))
        elif runtime.version:
            add(5, Cell(text, "dim"))
    if pulse.attached:
        where = tidy(pulse.attached, ascii_only=ascii_only, limit=60)
        add(0, Cell("attached to ", "dim"), Cell(where, "name"))
    elif snapshot.api:
        add(
            4, Cell("api ", "dim"), Cell(tidy(_near(snapshot.api), ascii_only=ascii_only, limit=30))
        )
    overrides = sum(m.override and m.readiness is not Readiness.UNLOADED for m in snapshot.models)
    if overrides:
        add(0, Cell(f"OVERRIDE {overrides}", "badge"))
    if pulse.readonly:
        add(0, Cell("READ-ONLY", "badge"))
    if pulse.paused:
        add(0, Cell("PAUSED", "badge"))
    while len(parts) > 1 and _joined_width(parts) > width:
        weakest = max(rank for rank, _ in parts)
        if weakest == 0:
            break
        last = max(i for i, (rank, _) in enumerate(parts) if rank == weakest)
        del parts[last]
    line: list[Cell] = []
    for index, (_, cells) in enumerate(parts):
        if index > 1:
            line.append(Cell("   "))
        elif index == 1:
            line.append(Cell(" "))
        line.extend(cells)
    return tuple(line)


def _troubled(
    names: tuple[str, ...], state: HostState, everywhere: tuple[str, ...], glyphs: Glyphs
) -> Line:
    """``host b STALE``, ``3 hosts LOST``.

    Args:
        everywhere: The names of all hosts, which a name that is cut must not look like.
    """
    sign = HOST_SIGNS[state]
    if len(names) > 1:
        return (Cell(f"{len(names)} hosts ", "dim"), Cell(sign.word, sign.style))
    name = short_names(everywhere, 16, glyphs)[names[0]]
    return (Cell("host ", "dim"), Cell(name, "name"), Cell(f" {sign.word}", sign.style))


def _joined_width(parts: list[tuple[int, Line]]) -> int:
    return sum(width_of(cells) for _, cells in parts) + 3 * (len(parts) - 1) - 2


def notice_lines(snapshot: EngineSnapshot, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The lasting banners, two at most; ``L`` where the log holds more of them."""
    lines: list[Line] = []
    more = len(snapshot.notices) - 2
    for notice in snapshot.notices[:2]:
        text = _notice_text(notice, glyphs)
        tail = f"  (+{more}, L)" if len(lines) == 1 and more > 0 else ""
        if not tail and cell_len(text) > width - 1:
            tail = "  (L)"
        text = cut(text, width - len(tail) - 1, glyphs.ellipsis) + tail
        lines.append((Cell(text, _notice_style(notice)),))
    return tuple(lines)


def notices_whole(snapshot: EngineSnapshot, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Every lasting banner, in as many lines as it takes."""
    lines: list[Line] = []
    for notice in snapshot.notices:
        first, *more = wrap(_notice_text(notice, glyphs), max(width - 4, 8))
        texts = (first, *("   " + text for text in more))
        lines += [(Cell(text, _notice_style(notice)),) for text in texts]
    return tuple(lines)


def _near(address: str) -> str:
    """An address as it is read on its own machine: the port says it all."""
    host, _, port = address.rpartition(":")
    return f":{port}" if host in ("127.0.0.1", "localhost", "[::1]") else address


def _notice_text(notice: Notice, glyphs: Glyphs) -> str:
    message = tidy(notice.message, ascii_only=glyphs.ascii_only, limit=2000)
    return f" {glyphs.of(SIGNS['refused'])} {message}"


def _notice_style(notice: Notice) -> str:
    return "bad" if notice.level == "error" else "warn"
