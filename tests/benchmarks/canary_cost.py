"""What proving the starter costs, step by step, against loading it, in both real backends.

Run with ``python -m tests.benchmarks.canary_cost [ROUNDS]``. Prints medians with the lowest and
the highest; a spare worker is ready for all rounds but the first, which is left out.
"""

import asyncio
import statistics
import sys
from collections.abc import Sequence

from engine import Backend
from engine.canary import STEPS
from tests.benchmarks import starter_run


def spread(values: Sequence[float], form: str = "8.1f") -> str:
    """A median with its range."""
    return f"{statistics.median(values):{form}}  ({min(values):.1f} to {max(values):.1f})"


async def measure(backend: Backend, rounds: int) -> None:
    """Load the starter so many times and once more, and print."""
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
    print(f"{backend.value}, {rounds} rounds, milliseconds")
    for name, times in steps.items():
        print(f"  {name:<12}{spread(times)}")
    print(f"  {'canary':<12}{spread(canaries)}")
    print(f"  {'load':<12}{spread(loads)}")
    ratios = [canary / load for canary, load in zip(canaries, loads, strict=True)]
    print(f"  {'ratio':<12}{spread(ratios, '8.2f')}")


async def main(arguments: list[str]) -> None:
    """Measure both backends."""
    rounds = int(arguments[0]) if arguments else 3
    for backend in starter_run.STARTERS:
        await measure(backend, rounds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
