"""How far the memory estimate is from what the starter takes, in both real backends.

Run with ``python -m tests.benchmarks.memory_estimate``. The estimate is the gate's, the measure the
worker's own: right after the load, and after the canary has used the model. The estimate is an
upper bound by design; llama.cpp takes its cache with the load, mlx-lm as a request fills it.
"""

import asyncio
from typing import Final

from engine import Backend, ModelView
from tests.benchmarks import starter_run

_MB: Final = 1e6


def line(when: str, measured: int, estimate: int) -> str:
    """The error of an estimate, in words."""
    error = (estimate - measured) / measured
    return f"  {when:<14}{measured / _MB:8.1f} MB, the estimate is {error:+.1%}"


async def measure(backend: Backend, model_id: str) -> None:
    """Load once and print."""
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
    parts += f"overhead {estimate.overhead / _MB:.1f}"
    print(f"{model_id}, context {estimate.context:,}")
    print(f"  {'estimate':<14}{estimate.total / _MB:8.1f} MB ({parts})")
    for when, measured in seen:
        print(line(when, measured, estimate.total))
    if backend is Backend.MLX:
        used = seen[-1][1]
        print(
            line("", used, estimate.total - estimate.cache)
            + " without the cache it has yet to fill"
        )


async def main() -> None:
    """Measure both backends."""
    for backend, model_id in starter_run.STARTERS.items():
        await measure(backend, model_id)


if __name__ == "__main__":
    asyncio.run(main())
