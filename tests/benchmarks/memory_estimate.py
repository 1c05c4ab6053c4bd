"""How far the memory estimate is from what the starter takes, in both real backends.

Run with ``python -m tests.benchmarks.memory_estimate``. The estimate is the gate's, the measure the
worker's own: right after the load, and after the canary has used the model. The estimate is an
upper bound by design; llama.cpp takes its cache with the load, mlx-lm as a request fills it.
"""

import asyncio
import sys
from typing import Final

from engine import Backend, ModelView
from tests.benchmarks import starter_run
from tests.benchmarks.report import Report

TAKES_S = 30

_MB: Final = 1e6


async def measure(report: Report, backend: Backend, model_id: str) -> None:
    """Load once and tell."""
    seen: list[tuple[str, int]] = []
    async with starter_run.running() as engine:
        await starter_run.load(engine, model_id)
        await engine.unload(model_id, actor=starter_run.ACTOR)  # that one may have built it
        order = asyncio.create_task(
            engine.load(model_id, actor=starter_run.ACTOR, wait=True), name="load"
        )
        first: ModelView | None = None
        while not order.done():
            model = starter_run.shown(engine, model_id)
            if first is None and model.measured_bytes:
                first = model
                seen.append(("after load", model.measured_bytes))
            await asyncio.sleep(0.002)
        await order
        await asyncio.sleep(2)  # a worker tells what it takes once a second
        model = starter_run.shown(engine, model_id)
        seen.append(("after canary", model.measured_bytes or 0))
        estimate = model.estimate
    if estimate is None:
        raise SystemExit(f"{model_id} has no estimate")
    parts = f"weights {estimate.weights / _MB:.1f}, cache {estimate.cache / _MB:.1f}, "
    parts += f"overhead {estimate.overhead / _MB:.1f} MB"
    name = f"{backend.value}, context {estimate.context:,}"
    print(f"{name}: the estimate is {parts}")
    for when, measured in seen:
        report.tell(f"{name}, estimate {when}", estimate.total / _MB, "MB", measured / _MB, "taken")
    if backend is Backend.MLX:
        used, sure = seen[-1][1] / _MB, (estimate.total - estimate.cache) / _MB
        report.tell(f"{name}, without the cache it has yet to fill", sure, "MB", used, "taken")


async def measure_both(report: Report) -> None:
    """Measure both backends."""
    for backend, model_id in starter_run.STARTERS.items():
        await measure(report, backend, model_id)


def main() -> int:
    """Measure and tell."""
    report = Report()
    asyncio.run(measure_both(report))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
