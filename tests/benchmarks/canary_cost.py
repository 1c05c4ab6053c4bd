"""What proving the starter costs, step by step, against loading it, in both real backends.

Run with ``python -m tests.benchmarks.canary_cost [ROUNDS]``. A spare worker is ready for all rounds
but the first, which is left out. No bar: load to routable has one of its own.
"""

import asyncio
import sys

from engine import Backend
from engine.canary import STEPS
from tests.benchmarks import starter_run
from tests.benchmarks.report import Report

TAKES_S = 60


async def measure(report: Report, backend: Backend, rounds: int) -> None:
    """Load the starter so many times and once more, and tell."""
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    loads: list[float] = []
    canaries: list[float] = []
    model_id = starter_run.STARTERS[backend]
    async with starter_run.running() as engine:
        for number in range(rounds + 1):
            loading, proving, model = await starter_run.load(engine, model_id)
            await engine.unload(model_id, actor=starter_run.ACTOR)
            if number == 0:  # the import of the backend, and the build of the MLX starter
                continue
            loads.append(loading * 1e3)
            canaries.append(proving * 1e3)
            for step in model.canary.steps if model.canary else ():
                steps[step.name].append(step.ms or 0.0)
    for name, times in steps.items():
        if times:
            report.tell(f"{backend.value}, {name}", times, "ms")
    report.tell(f"{backend.value}, the whole canary", canaries, "ms", loads, "the load before it")


async def measure_both(report: Report, rounds: int) -> None:
    """Measure both backends."""
    for backend in starter_run.STARTERS:
        await measure(report, backend, rounds)


def main() -> int:
    """Measure and tell."""
    report = Report()
    asyncio.run(measure_both(report, int(sys.argv[1]) if sys.argv[1:] else 3))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
