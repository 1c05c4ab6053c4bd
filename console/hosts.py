"""The lines of the Hosts screen: a row for each host, and what else there is to say of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len

from console.line import Cell, Line, cut, left, right, tidy
from console.status import HOST_SIGNS, Glyphs
from console.units import bar_text, clock_text, size_text, span_text
from console.whereabouts import short_names, trouble_words
from console.wording import version_words
from engine import Backend, HostState, HostView, ModelView, Readiness, RuntimeView

ALONE = (
    "It is the only one. `lmx serve --cluster auto` joins the Ray cluster that this machine is in; "
    "its hosts then stand here, and their models in the list."
)
"""How to get more."""
_STATE, _HEARD, _SIZE, _MODELS, _WORKERS = 5, 8, 9, 8, 5
_NAME_LEAST, _NAME_MOST = 8, 16
_DEVICES_LEAST, _DEVICES_MOST, _VERSIONS_LEAST = 7, 24, 16
_BAR, _BAR_FROM = 10, 140


@dataclass(frozen=True, slots=True)
class Census:
    """The models of one host."""

    total: int = 0
    routable: int = 0


def census_of(models: Sequence[ModelView]) -> dict[str, Census]:
    """Count the models of every host; a host without any is not in it."""
    total: dict[str, int] = {}
    routable: dict[str, int] = {}
    for model in models:
        total[model.host] = total.get(model.host, 0) + 1
        if model.readiness is Readiness.ROUTABLE:
            routable[model.host] = routable.get(model.host, 0) + 1
    return {name: Census(count, routable.get(name, 0)) for name, count in total.items()}


@dataclass(frozen=True, slots=True)
class _Columns:
    name: int
    bar: int
    devices: int
    versions: int
    """0 where there is no room; the lines about the chosen host tell them."""


def _names(hosts: Sequence[HostView]) -> tuple[str, ...]:
    return tuple(host.name for host in hosts)


@lru_cache(maxsize=8)  # every row asks for the same
def _columns(names: tuple[str, ...], width: int) -> _Columns:
    bar = _BAR + 1 if width >= _BAR_FROM else 0
    fixed = 3 + 2 + _STATE + 1 + _HEARD + 2 * _SIZE + bar + _MODELS + _WORKERS
    longest = max((cell_len(tidy(name)) for name in names), default=0)
    name = min(longest, _NAME_MOST, width - fixed)
    name = max(name, _NAME_LEAST)
    rest = width - fixed - name - 3  # a blank at the end
    if rest < _DEVICES_LEAST:
        return _Columns(name, bar, 0, 0)
    if rest < _DEVICES_MOST + 2 + _VERSIONS_LEAST:
        return _Columns(name, bar, rest, 0)
    return _Columns(name, bar, _DEVICES_MOST, rest - _DEVICES_MOST - 2)


def host_heading(hosts: Sequence[HostView], width: int) -> Line:
    """The column heads over :func:`host_line`."""
    columns = _columns(_names(hosts), width)
    text = f"   {left('HOST', columns.name)}  {left('STATE', _STATE)} {left('HEARD', _HEARD)}"
    text += right("MEM", _SIZE) + right("OF", _SIZE) + " " * columns.bar
    text += right("MODELS", _MODELS) + right("WRK", _WORKERS) + "  "
    text += left("DEVICES", columns.devices) if columns.devices else ""
    text += "  " + left("VERSIONS", columns.versions) if columns.versions else ""
    return (Cell(text.rstrip(), "head"),)


def host_line(
    host: HostView,
    census: Census,
    hosts: Sequence[HostView],
    width: int,
    now: float,
    glyphs: Glyphs,
) -> Line:
    """One host: state, when it was heard, memory, routable and all models, workers, devices.

    Of a host that is lost there is neither memory nor worker.

    Args:
        census: Its models.
        hosts: All of them, which decide how wide the columns are.
    """
    names = _names(hosts)
    columns, sign = _columns(names, width), HOST_SIGNS[host.state]
    told = "text" if host.state is HostState.OK else "idle"
    memory, there = host.memory, host.state is not HostState.LOST
    share = memory.reserved / memory.budget if memory.budget else 0.0
    name = short_names(names, columns.name, glyphs)[host.name]
    counted = f"{census.routable}/{census.total:,}"
    cells = [
        Cell(f" {glyphs.of(sign)} ", sign.style),
        Cell(left(name, columns.name) + "  ", "name" if host.state is HostState.OK else "idle"),
        Cell(left(sign.word, _STATE) + " ", sign.style),
        Cell(left(heard_text(host, now), _HEARD), told),
        Cell(right(size_text(memory.reserved) if there else "", _SIZE), told),
        Cell(right(size_text(memory.budget), _SIZE), "dim"),
    ]
    if columns.bar:
        bar = bar_text(share, _BAR, ascii_only=glyphs.ascii_only) if there else ""
        style = "warn" if share > 0.9 else "ok"
        cells.append(Cell(" " + left(bar, _BAR), style if told == "text" else "idle"))
    cells.append(Cell(right(counted, _MODELS), told))
    cells.append(Cell(right(str(host.models) if there else "", _WORKERS), told))
    if columns.devices:
        devices = tidy(_devices(host), ascii_only=glyphs.ascii_only)
        cells.append(Cell("  " + left(devices, columns.devices, glyphs.ellipsis), "dim"))
    if columns.versions:
        versions = ", ".join(_version(runtime, glyphs) for runtime in _told(host))
        cells.append(Cell("  " + cut(versions, columns.versions, glyphs.ellipsis), "dim"))
    return tuple(cells)


def heard_text(host: HostView, now: float) -> str:
    """When a host was heard: ``now`` while it is well, since it is heard every second; then for
    how long it has not been, and of one that is lost the time of day."""
    if host.own:
        return "here"
    if host.heard_at is None or host.state is HostState.OK:
        return "now"
    if host.state is HostState.LOST:
        return clock_text(host.heard_at, now)
    return span_text(now - host.heard_at)


def host_note(host: HostView, census: Census, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Three lines about the chosen host: what is wrong or its memory, what it is, versions.

    Args:
        census: Its models.
    """
    dot = f" {glyphs.dot} "

    def say(style: str, *parts: str) -> Line:
        text = tidy(dot.join(part for part in parts if part), ascii_only=glyphs.ascii_only)
        return (Cell(" " + cut(text, width - 2, glyphs.ellipsis), style),)

    where = "the engine runs here" if host.own else host.address
    counted = f"{census.routable} of {census.total:,} models routable"
    facts = say("dim", host.name, where, _devices(host), counted)
    versions = say("dim", *(_whole_version(runtime) for runtime in _told(host)))
    if host.state is not HostState.OK:
        style = HOST_SIGNS[host.state].style
        return say(style, trouble_words(host)), facts, versions
    memory = host.memory
    used = (
        f"{size_text(memory.reserved)} promised, {size_text(memory.measured)} measured, "
        f"budget {size_text(memory.budget)}"
    )
    return facts, versions, say("dim", used, f"{size_text(memory.available)} free on the machine")


def _devices(host: HostView) -> str:
    """What computes there, the accelerators before the processor: a narrow column cuts the end."""
    return ", ".join(reversed(host.devices))


def _told(host: HostView) -> tuple[RuntimeView, ...]:
    """Its runtimes, without the simulated one beside real ones."""
    real = tuple(runtime for runtime in host.runtimes if runtime.backend is not Backend.SIMULATED)
    return real or host.runtimes


def _version(runtime: RuntimeView, glyphs: Glyphs) -> str:
    text = version_words(runtime.version or runtime.name, 24, glyphs.ellipsis)
    text = f"no {_named(runtime) or runtime.backend.value}" if runtime.error else text
    return tidy(text, ascii_only=glyphs.ascii_only)


def _whole_version(runtime: RuntimeView) -> str:
    name = _named(runtime)
    if runtime.error:
        return f"no {name or runtime.backend.value}: {runtime.error}"
    version = runtime.version or "version unknown"
    return f"{name}: {version}" if name else version


def _named(runtime: RuntimeView) -> str:
    """The name of a runtime that an operator added; empty for the interpreter's own."""
    return "" if runtime.name == "default" else runtime.name
