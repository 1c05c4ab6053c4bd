"""How soon a model can be asked: our load to routable, the whole canary included, against
``llama-server`` from its start to a healthy ``/health``, on the same file.

Run with ``python -m tests.benchmarks.ready [ROUNDS]``; ``LMX_BENCH_LLAMA_SERVER`` names the peer's
binary (tests/benchmarks/decode.py says how it is built). Both sides take turns, warm (the file is
in the page cache) and cold (dropped from it, where the system can), and our phases are printed.
Bar: ≤ 1.5 ×, warm. A spare worker is ready, as it is in service.

``llama-server`` warms its model up before it is healthy; we prove ours. Both have the same context,
slots and threads.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine import Backend, Engine, ModelView, Readiness
from tests.benchmarks import llama_server
from tests.benchmarks.report import Report, at_most
from tests.benchmarks.starter_run import ACTOR, STARTERS, running, shown

TAKES_S = 60
BAR = 1.5
ROUNDS = 7
SLOTS, CONTEXT = 4, 4096
MODEL = STARTERS[Backend.GGUF]
_QUIET_S = 0.3
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Side:
    """What one way of starting took, round by round, in milliseconds."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=dict)


def forget(path: Path) -> bool:
    """Drop a file from the page cache; False where that cannot be asked for."""
    if not hasattr(os, "posix_fadvise"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return True


def recall(path: Path) -> None:
    """Read a file, so that it is in the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


async def quiet() -> None:
    """Wait until no child computes: the spare worker has its backend imported."""
    until, used = time.monotonic() + _PATIENCE_S, -1.0
    while time.monotonic() < until:
        times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
        now = sum(t.user + t.system for t in times)
        if times and now - used < 0.01:
            return
        used = now
        await asyncio.sleep(_QUIET_S)
    raise SystemExit("the spare worker never came to rest")


def phases(model: ModelView, began: float, ended: float) -> dict[str, float]:
    """What each part of a load took, in milliseconds; ``began`` and ``ended`` are Unix seconds."""
    reached = {step.target: step.at for step in model.transitions}
    canary = model.canary
    steps = {f"canary, {step.name}": step.ms or 0.0 for step in canary.steps} if canary else {}
    asked = reached[Readiness.CANARY_PENDING]
    proving = (reached[Readiness.ROUTABLE] - asked) * 1e3
    return {
        "gate": (reached[Readiness.ADMITTED] - began) * 1e3,
        "worker": (reached[Readiness.LOADING] - reached[Readiness.ADMITTED]) * 1e3,
        "load": (asked - reached[Readiness.LOADING]) * 1e3,
        "canary": sum(steps.values()),
        **steps,
        "registry": proving - sum(steps.values()),
        "told": (ended - reached[Readiness.ROUTABLE]) * 1e3,
    }


async def ours(engine: Engine) -> tuple[float, dict[str, float]]:
    """One load: seconds until routable, and its phases."""
    await quiet()
    wall, began = time.time(), time.perf_counter()
    await engine.load(MODEL, actor=ACTOR, wait=True)
    took, model = time.perf_counter() - began, shown(engine, MODEL)
    parts = phases(model, wall, time.time())
    await quiet()  # the next spare has been started meanwhile
    await engine.unload(MODEL, actor=ACTOR)
    return took, parts


async def theirs(path: Path) -> float | None:
    """One start of the peer: seconds until healthy; None where it is not."""
    threads = os.cpu_count() or 1
    async with llama_server.beside(path, threads=threads, slots=SLOTS, context=CONTEXT) as peer:
        return peer.ready_s if peer else None


async def measure(rounds: int) -> dict[str, Side]:
    """Both sides by turns, warm and cold."""
    sides: dict[str, Side] = {}
    async with running(slots=SLOTS, context=CONTEXT, threads=os.cpu_count()) as engine:
        path = Path(shown(engine, MODEL).path)
        await ours(engine)  # the backend's first import, and what is asked of it once
        for number in range(rounds):
            for name in ("warm", "cold"):
                side = sides.setdefault(name, Side())
                for turn in (0, 1) if number % 2 else (1, 0):
                    if name == "warm":
                        recall(path)
                    elif not forget(path):
                        continue
                    if turn:
                        took, parts = await ours(engine)
                        side.ours.append(took * 1e3)
                        for part, value in parts.items():
                            side.phases.setdefault(part, []).append(value)
                    elif (ready_s := await theirs(path)) is not None:
                        side.theirs.append(ready_s * 1e3)
    return sides


def tell(report: Report, sides: dict[str, Side]) -> None:
    """Tell everything."""
    for name, side in sides.items():
        if not side.ours:
            print(f"{name}: this system cannot drop a file from its cache, left out")
            continue
        for part, values in side.phases.items():
            report.tell(f"{name}, {part}", values, "ms")
        bar = at_most(BAR) if name == "warm" else None
        if side.theirs:
            what = f"load to routable, {name}"
            report.tell(what, side.ours, "ms", side.theirs, llama_server.NAME, bar=bar)
        else:
            report.tell(f"load to routable, {name}", side.ours, "ms")
            print(f"{llama_server.NAME}: not here, left out")


def main() -> int:
    """Measure, print, and return 1 when the bar is missed."""
    report = Report()
    tell(report, asyncio.run(measure(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
