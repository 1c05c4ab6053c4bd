"""What a fleet costs the engine and a console as it grows, and where it bends.

Run with ``python -m tests.benchmarks.fleet``. Hosts are on paper: told of through the fleet's own
seam, their models in folders of this machine, the gate the real one; no worker is started. Each
host has nine models of its own and one that every host has. From one host with ten models to a
hundred with a thousand: the engine's snapshot and what one changed row is on the wire; its
processor time for a snapshot, a second's upkeep, a host that joins, and the choice of a host for a
load, where the first one takes it and where every one is full; and a real console of 80x24,
attached over the API: its bytes and its processor time, idle and while one row changes each second.

A figure that grows with the fleet has a bar on its bend: at the last step it may grow twice as much
as the fleet does, since a thousand of anything fit no cache; what every host would look at of every
other grows three times as much. The console's bars are those of the design, whatever the size.
"""

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from engine import ApiServer, Engine, LoadOptions, Readiness
from engine.address import Address
from engine.delta import change, whole
from engine.readiness import Cause
from tests.benchmarks.console_line import SIZE, rate
from tests.benchmarks.cpu import cpu_s
from tests.benchmarks.report import Report, at_most
from tests.benchmarks.scale import Table
from tests.console.pty.conftest import Terminal, surroundings
from tests.engine.fleet.paper import GB, PaperCluster

TAKES_S = 150
POINTS = ((1, 10), (10, 100), (30, 300), (100, 1000))
"""Hosts, and models on all of them together."""
EVERYWHERE = "aa-everywhere"
REPEATS, SETTLE_S, IDLE_S, BUSY_S = 20, 4.0, 8.0, 8.0
ROW_B, IDLE_B, IDLE_CPU, BEND = 250, 200, 0.5, 2.0
T = TypeVar("T")


class Loop:
    """An event loop on a thread of its own: the engine goes on while a console is watched."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Fleet:
    """An engine with so many hosts on paper, and its API."""

    engine: Engine
    cluster: PaperCluster
    server: ApiServer
    house: AbstractAsyncContextManager[Engine]
    """Ends the engine; let go of, it would end it at once."""
    joins: list[float]
    """Milliseconds of processor time for each host that joined."""


async def opened(folder: Path, hosts: int, models: int) -> Fleet:
    """Start it, with every host joined."""
    names = ["own", *(f"host-{number:03}" for number in range(1, hosts))]
    cluster = PaperCluster(folder)
    for host in names:
        for number in range(models // hosts - 1):
            cluster.put(host, f"{host}-model-{number}")
        cluster.put(host, EVERYWHERE)
    house = cluster.engine()
    engine = await house.__aenter__()
    joins = []
    for host in names[1:]:
        member = cluster.member(host, "", 4 * GB)
        joins.append(await spent(lambda m=member: engine._fleet.joined(m)))  # type: ignore[misc]
    server = ApiServer(engine, engine.settings, Address("127.0.0.1", 0), version="bench")
    await server.start()
    return Fleet(engine, cluster, server, house, joins)


async def ended(fleet: Fleet) -> None:
    """End the engine."""
    await fleet.house.__aexit__(None, None, None)


async def spent(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of processor time, that of the threads which work for it included."""
    began = time.process_time()
    await work()
    return (time.process_time() - began) * 1000


async def inside(table: Table, fleet: Fleet, models: int) -> None:
    """What the engine does by itself."""
    engine, board = fleet.engine, fleet.engine._rooms.services.board
    row = board.models[EVERYWHERE]
    builds, deltas = [], []
    before = engine.snapshot()
    for number in range(REPEATS):
        row.change(progress=number / REPEATS)
        began = time.thread_time()
        after = engine.snapshot()
        builds.append((time.thread_time() - began) * 1000)
        deltas.append(float(len(json.dumps(change(before, after), separators=(",", ":")))))
        before = after
    row.change(progress=None)
    *_, host = engine._rooms.services.hosts
    before, deltas = engine.snapshot(), []
    for number in range(REPEATS):
        host.budget.reserve("filler", number)
        board.changed()
        after = engine.snapshot()
        deltas.append(float(len(json.dumps(change(before, after), separators=(",", ":")))))
        before = after
    host.budget.release("filler")
    table.tell(models, "a changed host on the wire", deltas, "B")
    size = len(json.dumps(whole(engine.snapshot()), separators=(",", ":"))) / 1000
    table.tell(models, "snapshot", [size], "kB")
    table.tell(models, "a changed row on the wire", deltas, "B")
    table.tell(models, "engine: a snapshot", builds, "ms")
    ticks = [await spent(engine._rooms.upkeep._tick) for _ in range(REPEATS)]
    table.tell(models, "engine: a second's upkeep", ticks, "ms")
    if fleet.joins:
        table.tell(models, "engine: a host joins", fleet.joins[-REPEATS:], "ms")
    await decisions(table, fleet, models)


async def decisions(table: Table, fleet: Fleet, models: int) -> None:
    """The choice among every host."""
    engine = fleet.engine
    dispatch, services = engine._rooms.dispatch, engine._rooms.services
    copies = services.copies.of(EVERYWHERE)

    async def choose() -> None:
        await dispatch.choose(copies, 1, LoadOptions(), "benchmark")

    first = [await spent(choose) for _ in range(REPEATS)]
    table.tell(models, "engine: choosing a host, the first fits", first, "ms")
    for host in services.hosts:
        host.budget.reserve("filler", host.budget.total)
    full = [await spent(choose) for _ in range(REPEATS)]
    for host in services.hosts:
        host.budget.release("filler")
    table.tell(models, "engine: choosing a host, every one is full", full, "ms")


async def stirring(engine: Engine) -> None:
    """One row's load goes on by a hundredth every second."""
    row = engine._rooms.services.board.models[EVERYWHERE]
    row.move(Readiness.ADMITTED, Cause.ADMITTED, "benchmark")
    row.move(Readiness.LOADING, Cause.STARTED, "benchmark")
    for step in range(1000):
        row.change(progress=step % 100 / 100)
        await asyncio.sleep(1)


def outside(table: Table, fleet: Fleet, loop: Loop, folder: Path, models: int) -> None:
    """What a console that is attached bears."""
    arguments = ["--attach", str(fleet.server.address)]
    terminal = Terminal(surroundings(folder), SIZE, arguments)
    try:
        terminal.wait_for(EVERYWHERE, "unloaded")
        time.sleep(SETTLE_S)
        [own] = psutil.Process(terminal.process.pid).children() or [
            psutil.Process(terminal.process.pid)
        ]
        before, bytes_s = cpu_s(own.pid), rate(terminal, IDLE_S)
        used = (cpu_s(own.pid) - before) / IDLE_S * 100
        table.tell(models, "console: idle", [bytes_s], "B/s", IDLE_B)
        table.tell(models, "console: idle, processor", [used], "% of a core", IDLE_CPU)
        stir = asyncio.run_coroutine_threadsafe(stirring(fleet.engine), loop._loop)
        terminal.wait_for("loading")
        time.sleep(2)
        before, bytes_s = cpu_s(own.pid), rate(terminal, BUSY_S)
        used = (cpu_s(own.pid) - before) / BUSY_S * 1000
        table.tell(models, "console: a changed row", [bytes_s], "B", ROW_B)
        table.tell(models, "console: a changed row, processor", [used], "ms")
        stir.cancel()
    finally:
        terminal.close()


def bends(report: Report, table: Table) -> None:
    """By how much more than the fleet each figure grew at the last step."""
    (_, before), (_, last) = POINTS[-2:]
    for what, points in table.medians.items():
        if before in points and last in points and points[before][0] > 0:
            growth = points[last][0] / points[before][0] / (last / before)
            bar = at_most(BEND) if what.startswith(("engine", "snapshot")) else None
            report.tell(f"{what}: growth over the fleet's, last step", growth, bar=bar)


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    table = Table(report, "models", tuple(models for _, models in POINTS))
    with tempfile.TemporaryDirectory(prefix="lmx-fleet-") as place:
        for hosts, models in POINTS:
            folder = Path(place, str(models))
            folder.mkdir()
            loop = Loop()
            fleet = loop.run(opened(folder, hosts, models))
            try:
                loop.run(inside(table, fleet, models))
                outside(table, fleet, loop, folder, models)
            finally:
                loop.run(fleet.server.stop())
                loop.run(ended(fleet))
                loop.close()
    bends(report, table)
    print("", *table.lines(), sep="\n")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
