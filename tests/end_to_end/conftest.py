"""A real engine on a home of its own, with simulated models whose workers really die."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, EngineSnapshot, ModelView, Readiness, load_settings
from engine.memory import machine_memory
from tests.end_to_end.served import Served, environment

ACTOR = "tester@local"
PATIENCE_S = 60.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no models but those a test makes, whatever the machine has elsewhere."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LMX_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    return folder


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., str]:
    """Make a simulated model; returns its id."""

    def make(model_id: str, **script: Any) -> str:
        folder = tmp_path / "models" / model_id
        folder.mkdir(parents=True, exist_ok=True)
        quick = {"kind": "simulated", "weights_gb": 0.1, "load_seconds": 0.05}
        speed = {"tokens_per_second": 500, "say": ["It", " works", "."]}
        (folder / "simulated.json").write_text(json.dumps(quick | speed | script))
        return model_id

    return make


Opener = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def open_engine(tmp_path: Path, home: Path) -> AsyncIterator[Opener]:
    """Start an engine on the test's home; every one started is stopped at the end."""
    opened: list[Engine] = []

    async def start(**overrides: Any) -> Engine:
        defaults: dict[str, Any] = {
            "home": home,
            "folders": (tmp_path / "models",),
            "lmstudio": tmp_path / "no-lmstudio",
            "starter": False,
            "spare": False,
            "threads": 1,  # tests compute side by side; two that share their cores lose both
            "quarantining": {"backoff_s": (0.05, 0.05, 0.05)},
        }
        (tmp_path / "models").mkdir(exist_ok=True)
        machine = overrides.pop("machine", machine_memory)
        engine = Engine(load_settings(**(defaults | overrides)), machine=machine)
        opened.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in opened:
        await engine.stop()


async def until(
    engine: Engine, holds: Callable[[EngineSnapshot], bool], patience_s: float = PATIENCE_S
) -> EngineSnapshot:
    """Wait until the snapshot satisfies a condition; fails with what it last showed."""
    try:
        async with asyncio.timeout(patience_s):
            while not holds(engine.snapshot()):  # noqa: ASYNC110 - the console polls it too
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never came: {[describe(m) for m in engine.snapshot().models]}")
    return engine.snapshot()


async def until_readiness(engine: Engine, model_id: str, readiness: Readiness) -> ModelView:
    """Wait until a model stands where it should."""

    def there(snapshot: EngineSnapshot) -> bool:
        model = snapshot.model(model_id)
        return model is not None and model.readiness is readiness

    model = (await until(engine, there)).model(model_id)
    assert model is not None
    return model


def describe(model: ModelView) -> str:
    """A model in a line, for a failure message."""
    return f"{model.id}: {model.readiness} strikes={model.strikes} {model.reason} {model.refusal}"


Server = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Server]:
    """Start ``lmx serve`` on a free port; every one started is ended."""
    started: list[Served] = []

    def start(*arguments: str, **variables: str) -> Served:
        given = arguments if "--api" in arguments else ("--api", "127.0.0.1:0", *arguments)
        served = Served(environment(tmp_path, **variables), given)
        started.append(served)
        return served

    yield start
    for served in started:
        served.close()
