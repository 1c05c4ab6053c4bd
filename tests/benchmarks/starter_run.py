"""Loads the starter model for a benchmark: one engine, one backend, seen from outside."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine import Backend, Engine, ModelView, Readiness, load_settings

STARTERS = {
    Backend.GGUF: "SmolLM2-135M-Instruct.Q4_1",
    Backend.MLX: "SmolLM2-135M-Instruct-MLX",
}
ACTOR = "benchmark@local"


@asynccontextmanager
async def running(**overrides: Any) -> AsyncIterator[Engine]:
    """An engine that knows the starter and nothing else, on a home of its own.

    Args:
        overrides: Settings.
    """
    with tempfile.TemporaryDirectory(prefix="lmx-benchmark-") as place:
        os.environ["LMX_HOME"] = str(Path(place, "home"))
        os.environ["HF_HUB_CACHE"] = str(Path(place, "none"))
        settings = load_settings(lmstudio=Path(place, "none"), starter=True, **overrides)
        engine = Engine(settings)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def shown(engine: Engine, model_id: str) -> ModelView:
    """A model as it stands now."""
    model = engine.snapshot().model(model_id)
    if model is None:
        raise SystemExit(f"{model_id} is not there: install the starter's package")
    return model


async def load(engine: Engine, model_id: str) -> tuple[float, float, ModelView]:
    """Load a model until it is routable.

    Returns:
        Seconds from the load's order to its canary, seconds from there to routable, and the model
        as it stood then.

    Raises:
        EngineError: it did not get there.
    """
    began = time.perf_counter()
    order = asyncio.create_task(engine.load(model_id, actor=ACTOR, wait=True))
    loaded = began
    while not order.done():
        if loaded == began and shown(engine, model_id).readiness is Readiness.CANARY_PENDING:
            loaded = time.perf_counter()
        await asyncio.sleep(0.002)
    await order
    return loaded - began, time.perf_counter() - loaded, shown(engine, model_id)
