"""How cost grows with models on disk, streams and records, and where it bends.

Run with ``python -m tests.benchmarks.scale``. A real console in a pseudo-terminal of 80x24 on
folders of 10, 100 and 1,000 simulated models, and on registries of 100, 10,000 and 100,000 records;
what no terminal shows, the scan, the snapshot and the drawing, is measured inside a process. At the
end the points stand in one table of Markdown. Only the largest size has bars: those of the design
for any size.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from console.presenter import ViewOptions, arrange, beat, present
from engine import Engine, EngineSnapshot, load_settings
from engine.registry import Registry
from tests.benchmarks.console_line import console, load, port_of, rate
from tests.benchmarks.cpu import cpu_s
from tests.benchmarks.overhead import RATE, through_engine
from tests.benchmarks.registry_append import fill, row
from tests.benchmarks.report import Report, at_most
from tests.console.pty.conftest import Terminal, surroundings, write_simulated

TAKES_S = 240
MODELS, RECORDS, STREAMS = (10, 100, 1000), (100, 10_000, 100_000), (1, 8, 32, 128)
PATIENCE_S = 30.0
IDLE_S, PRESSES, REPEATS, APPENDS = 10.0, 20, 20, 100
TOKENS, TOKEN_US = 400, 300
PAINT_S, KEY_MS, ROW_B, IDLE_CPU, OPEN_S = 0.6, 50, 250, 0.5, 1.0


class Table:
    """Tells each figure, and keeps it for the table at the end.

    Args:
        of: What grows.
        sizes: How far; the bars hold at the last.
    """

    def __init__(self, report: Report, of: str, sizes: tuple[int, ...]) -> None:
        self._report, self._of, self._sizes = report, of, sizes
        self.medians: dict[str, dict[int, tuple[float, str]]] = {}

    def tell(
        self, size: int, what: str, values: list[float], unit: str, most: float | None = None
    ) -> None:
        """One figure at one size, and the most it may be at the largest."""
        bar = at_most(most) if most is not None and size == self._sizes[-1] else None
        figure = self._report.tell(f"{what}, {size:,} {self._of}", values, unit, bar=bar)
        told = figure.ours.partition(" (")[0]
        self.medians.setdefault(f"{what}", {})[size] = (statistics.median(values), told)

    def lines(self) -> list[str]:
        """The rows of this part, each with how much the last step multiplied it by."""
        head = " | ".join(f"{size:,}" for size in self._sizes)
        lines = [f"| by {self._of} | {head} | last step |", "|---" * (len(self._sizes) + 2) + "|"]
        for what, points in self.medians.items():
            cells = [points[size][1] if size in points else "" for size in self._sizes]
            before, last = (points.get(size, (0.0, ""))[0] for size in self._sizes[-2:])
            growth = f"× {last / before:.1f}" if before > 0 else ""
            lines.append(f"| {what} | {' | '.join(cells)} | {growth} |")
        return lines


def folder_of(place: Path, name: str, count: int) -> Path:
    """A home to be, and so many models of which the first loads slowly."""
    folder = place / name
    (folder / "models").mkdir(parents=True)
    (folder / "none").mkdir()
    write_simulated(folder, "sim-0000", load_seconds=600)
    for number in range(1, count):
        write_simulated(folder, f"sim-{number:04}", weights_gb=number % 97 + 1)
    return folder


def key(terminal: Terminal, keys: str, holds: Callable[[str], bool]) -> float:
    """Milliseconds from a key until the screen shows what it does."""
    began = time.perf_counter()
    terminal.send(keys)
    while not holds(terminal.text):
        if time.perf_counter() - began > PATIENCE_S:
            raise SystemExit(f"{keys!r} did not do what it does:\n{terminal.text}")
        time.sleep(0.0005)
    return (time.perf_counter() - began) * 1000


def idle(terminal: Terminal) -> tuple[float, float]:
    """Percent of a core, and megabytes, of a console that has come to rest."""
    time.sleep(4)
    pid = terminal.console().pid
    before = cpu_s(pid)
    time.sleep(IDLE_S)
    used = (cpu_s(pid) - before) / IDLE_S * 100
    return used, psutil.Process(pid).memory_info().rss / 1e6


def by_models_on_screen(table: Table, folder: Path, count: int) -> None:
    """What an operator waits for, and what the line and the machine bear."""
    first, whole = [], []
    for _ in range(3):
        began = time.perf_counter()
        with console(folder) as terminal:
            terminal.wait_for("LMX", "Models")
            first.append(time.perf_counter() - began)
            terminal.wait_for("sim-0001", "unloaded")
            whole.append(time.perf_counter() - began)
    table.tell(count, "first paint", first, "s", PAINT_S)
    table.tell(count, "models on screen", whole, "s")
    with console(folder) as terminal:
        terminal.wait_for("sim-0001", "unloaded")
        used, resident = idle(terminal)
        table.tell(count, "idle", [used], "% of a core", IDLE_CPU)
        table.tell(count, "memory", [resident], "MB")
        moves = []
        for press in range(PRESSES):
            down = press % 2 == 0
            name = "sim-0001" if down else "sim-0000"
            note = f" {name} "
            moves.append(
                key(terminal, "j" if down else "k", lambda s, n=note: n in s.split("\n")[20])  # type: ignore[misc]
            )
        table.tell(count, "key to paint: move", moves, "ms", KEY_MS)
        sorts = [
            key(terminal, "s", lambda s, o=order: f"ordered by {o}" in s)  # type: ignore[misc]
            for order in ("state", "size", "name") * 3
        ]
        table.tell(count, "key to paint: sort", sorts, "ms", KEY_MS)
        key(terminal, "/", lambda s: "filter" in s.casefold())
        typed = []
        for text in ("0", "00", "000"):
            left = sum(text in f"sim-{number:04}" for number in range(count))
            shown = f"Models {left}/{count} "
            typed.append(key(terminal, "0", lambda s, t=shown: t in s))  # type: ignore[misc]
        table.tell(count, "key to paint: filter", typed, "ms", KEY_MS)
        key(terminal, "\x1b", lambda s: f"/{count} " not in s)
        load_in_background(folder)
        terminal.wait_until(lambda s: "loading" in s, "the load")
        time.sleep(3)
        table.tell(count, "a changed row", [rate(terminal, 6)], "B", ROW_B)


def spent_on_keys(terminal: Terminal) -> float:
    """Milliseconds of processor time that one move down a list takes: only its colours tell it."""
    pid = terminal.console().pid
    time.sleep(0.5)
    before = cpu_s(pid)
    for _ in range(PRESSES):
        terminal.send("j")
        time.sleep(0.05)
    return (cpu_s(pid) - before) / PRESSES * 1000


def load_in_background(folder: Path) -> None:
    """Order the slow load; its row changes once a second."""
    threading.Thread(target=load, args=(port_of(folder), "sim-0000"), daemon=True).start()


async def by_models_inside(table: Table, folder: Path, count: int) -> None:
    """The scan, the snapshot and the drawing."""
    for name, value in surroundings(folder).items():
        os.environ[name] = value
    engine = Engine(load_settings(home=folder / "inside"))
    await engine.start()
    try:
        scans = []
        for _ in range(3):
            began = time.perf_counter()
            await engine.rescan()
            scans.append((time.perf_counter() - began) * 1000)
        table.tell(count, "scan", scans, "ms")
        builds, snapshot = [], engine.snapshot()
        for _ in range(REPEATS):
            engine._board.changed()
            began = time.perf_counter()
            snapshot = engine.snapshot()
            builds.append((time.perf_counter() - began) * 1000)
        table.tell(count, "snapshot", builds, "ms")
        table.tell(count, "drawing a change", drawings(snapshot), "ms")
    finally:
        await engine.stop()


def drawings(snapshot: EngineSnapshot) -> list[float]:
    """Milliseconds from a snapshot in which one model changed to the lines in sight."""
    times = []
    order = arrange(snapshot.models, "name")
    for number in range(REPEATS):
        models = list(snapshot.models)
        models[0] = replace(models[0], progress=number / REPEATS)
        changed = replace(snapshot, version=snapshot.version + number, models=tuple(models))
        began = time.perf_counter()
        beat(changed)
        options = ViewOptions(78, 38, 80, time.time(), order=order, selected=models[0].id)
        picture = present(changed, options)
        for index in range(min(len(picture.rows), 12)):
            _ = picture.rows[index]
        times.append((time.perf_counter() - began) * 1000)
    return times


def by_records(table: Table, folder: Path, count: int) -> None:
    """The registry: opened, appended to, and on its screen."""
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    path = home / "compatibility-registry.json"
    fill(path, count)
    path.chmod(0o600)
    opens = []
    for _ in range(3):
        began = time.perf_counter()
        registry = Registry(path, time.time)
        opens.append(time.perf_counter() - began)
        if len(opens) < 3:
            registry.close()
    table.tell(count, "registry open", opens, "s", OPEN_S)
    appends = []
    for number in range(APPENDS):
        began = time.perf_counter()
        registry.append(row(count + number))
        appends.append((time.perf_counter() - began) * 1000)
    registry.close()
    table.tell(count, "durable append", appends, "ms")
    first = []
    began = time.perf_counter()
    with console(folder) as terminal:
        terminal.wait_for("LMX", "Models")
        first.append(time.perf_counter() - began)
        terminal.wait_for("sim-0001", "unloaded")
        used, resident = idle(terminal)
        table.tell(count, "first paint", first, "s", PAINT_S)
        table.tell(count, "idle", [used], "% of a core", IDLE_CPU)
        table.tell(count, "memory", [resident], "MB")
        shown = f"of {count + APPENDS:,}"
        paints: list[float] = []
        spent: list[float] = []
        for _ in range(3):
            paints.append(key(terminal, "R", lambda s: shown in s))
            spent.append(spent_on_keys(terminal))
            key(terminal, "\x1b", lambda s: "Canary" in s or "unloaded" in s)
            time.sleep(0.3)
        table.tell(count, "registry screen: first paint", paints, "ms")
        table.tell(count, "registry screen: processor time of a key", spent, "ms")


async def by_streams(table: Table, folder: Path) -> None:
    """The parent's time for a token, and tokens per second of all streams together."""
    (folder / "models").mkdir(parents=True)
    write_simulated(folder, "fast", tokens_per_second=RATE, context=65536)
    settings = load_settings(
        home=folder / "home", folders=(folder / "models",), slots=max(STREAMS), starter=False
    )
    engine = Engine(settings)
    await engine.start()
    try:
        await engine.load("fast", actor="benchmark@local", wait=True)
        for streams in STREAMS:
            rate_s, cost_s = await through_engine(engine, streams, tokens=TOKENS)
            table.tell(streams, "through the engine", [rate_s], "tok/s")
            table.tell(streams, "the parent's time for a token", [cost_s * 1e6], "µs", TOKEN_US)
    finally:
        await engine.stop()


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    tables = [
        Table(report, of, sizes)
        for of, sizes in (("models", MODELS), ("records", RECORDS), ("streams", STREAMS))
    ]
    with tempfile.TemporaryDirectory(prefix="lmx-scale-") as name:
        place = Path(name)
        for count in MODELS:
            folder = folder_of(place, f"models-{count}", count)
            asyncio.run(by_models_inside(tables[0], folder, count))
            by_models_on_screen(tables[0], folder, count)
        for count in RECORDS:
            by_records(tables[1], folder_of(place, f"records-{count}", 10), count)
        asyncio.run(by_streams(tables[2], place / "streams"))
    for table in tables:
        print("", *table.lines(), sep="\n")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
