"""How soon the death of a worker shows: a real GGUF worker that serves eight streams is killed by
SIGKILL, again and again, and the row is watched until it says so.

Run with ``python -m tests.benchmarks.containment [ROUNDS]``. Told are also the streams, every one
of which must learn of it, and how long the engine's own loop stood still meanwhile: nothing else
may notice. Bar: ≤ 0.3 s at the 99th percentile; of fewer than a hundred rounds, the slowest.
"""

import asyncio
import itertools
import math
import os
import signal
import sys
import time
from dataclasses import dataclass

from engine import Backend, ChatEnd, ChatOptions, ChatTurn, Engine, EngineError, Readiness
from tests.benchmarks.report import Report, at_most
from tests.benchmarks.starter_run import STARTERS, load, running, shown

TAKES_S = 90
BAR_MS = 300.0
ROUNDS = 25
STREAMS = 8
MODEL = STARTERS[Backend.GGUF]
_LOOK_S = 0.001
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """One death, in milliseconds from the signal."""

    row: float
    streams: float
    """Until the last stream had its end."""
    stall: float
    """The longest time the loop did not come round."""


async def ask(engine: Engine, number: int, stream: int, begun: asyncio.Event) -> None:
    """One stream, asking on and on until its worker dies under it. No question comes twice: it
    would be suspect."""
    options = ChatOptions(max_tokens=500)
    for turn in itertools.count():
        words = f"{number} {stream} {turn}: tell me a long story about these numbers."
        try:
            chat = await engine.chat(MODEL, (ChatTurn("user", words),), options, client="b")
        except EngineError:
            return  # it died between two questions
        async for item in chat:
            if isinstance(item, ChatEnd) and item.decision is not None:
                return
            begun.set()


async def kill(engine: Engine, number: int) -> Round:
    """Have it serve, kill it, and watch."""
    begun = [asyncio.Event() for _ in range(STREAMS)]
    streams = [asyncio.create_task(ask(engine, number, i, e)) for i, e in enumerate(begun)]
    for event in begun:
        await event.wait()
    pid = shown(engine, MODEL).pid
    if pid is None:
        raise SystemExit("it died before it was killed")
    os.kill(pid, signal.SIGKILL)
    began = last = time.perf_counter()
    row, stall = 0.0, 0.0
    while not row or not all(stream.done() for stream in streams):
        await asyncio.sleep(_LOOK_S)
        now = time.perf_counter()
        stall, last = max(stall, now - last - _LOOK_S), now
        if not row and shown(engine, MODEL).readiness is not Readiness.ROUTABLE:
            row = now - began
        if now - began > _PATIENCE_S:
            raise SystemExit("its death never showed")
    told = time.perf_counter() - began
    await asyncio.gather(*streams)
    return Round(row * 1e3, told * 1e3, stall * 1e3)


async def measure(rounds: int) -> list[Round]:
    """So many deaths of one model, which comes back after each."""
    lenient = {"strikes": 10_000, "backoff_s": (0.05,)}
    found: list[Round] = []
    async with running(slots=STREAMS, quarantining=lenient) as engine:
        await load(engine, MODEL)
        for number in range(rounds):
            found.append(await kill(engine, number))
            async with asyncio.timeout(_PATIENCE_S):
                while shown(engine, MODEL).readiness is not Readiness.ROUTABLE:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    return found


def slowest(values: list[float]) -> float:
    """The 99th percentile by nearest rank."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def main() -> int:
    """Measure, print, and return 1 when the bar is missed."""
    report = Report()
    rounds = asyncio.run(measure(int(sys.argv[1]) if sys.argv[1:] else ROUNDS))
    rows = [one.row for one in rounds]
    report.tell("SIGKILL to the row saying so", rows, "ms")
    what = f"the same, 99th percentile of {len(rows)}"
    report.tell(what, slowest(rows), "ms", bar=at_most(BAR_MS))
    report.tell("to the last of eight streams told", [one.streams for one in rounds], "ms")
    report.tell("the loop's longest stall meanwhile", [one.stall for one in rounds], "ms")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
