"""A machine that keeps what a dead worker had: nothing is loaded into what is not there.

The worker is a simulated one that dies for real; only the machine's memory is played.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine import Code, Engine, EngineError, Readiness
from engine.catalog.entry import CatalogEntry
from engine.lives.reclaim import Reclaim
from engine.memory import Memory
from engine.types import Backend
from tests.end_to_end.conftest import ACTOR, Opener, until, until_readiness

Simulate = Callable[..., str]
GB = 10**9
TAKEN = 300


class LeakyMachine:
    """512 GB, of which a worker takes 300 and gives nothing back until it is told to."""

    def __init__(self) -> None:
        self.leaked = 0

    def __call__(self) -> Memory:
        return Memory(512 * GB, (500 - self.leaked) * GB)


class PlayedReclaim(Reclaim):
    """Takes a simulated model at its word, as if MLX ran it; impatient."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts, patience_s=0.2, poll_s=0.01)

    def begin(self, entry: CatalogEntry, promised: int) -> None:
        super().begin(replace(entry, backend=Backend.MLX), promised)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> LeakyMachine:
    monkeypatch.setattr("engine.assembly.Reclaim", PlayedReclaim)
    return LeakyMachine()


async def load_big(engine: Engine, simulate: Simulate, machine: LeakyMachine) -> int:
    """Load the large model; returns its worker's pid."""
    await engine.load("big", actor=ACTOR, wait=True)
    machine.leaked = TAKEN
    view = engine.snapshot().model("big")
    assert view is not None
    assert view.pid is not None
    assert view.measured_bytes == TAKEN * GB
    return view.pid


def notices(engine: Engine) -> list[str]:
    return [n.message for n in engine.snapshot().notices if n.id == "memory-not-returned"]


async def test_a_load_after_it_is_refused_until_the_memory_is_back(
    open_engine: Opener, simulate: Simulate, machine: LeakyMachine
) -> None:
    simulate("big", weights_gb=TAKEN)
    simulate("next", weights_gb=150)
    engine = await open_engine(memory_gb=400, machine=machine)
    await load_big(engine, simulate, machine)
    await engine.unload("big", actor=ACTOR)
    with pytest.raises(EngineError) as refused:
        await engine.load("next", actor=ACTOR)
    assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
    assert "300.0 GB not being returned" in refused.value.decision.expected
    assert notices(engine) == ["300 GB not returned; a reboot may be needed (after big ended)"]
    machine.leaked = 0
    await until(engine, lambda _: not notices(engine))
    await engine.load("next", actor=ACTOR, wait=True)


async def test_a_crashed_model_is_not_restarted_into_memory_that_is_gone(
    open_engine: Opener, simulate: Simulate, machine: LeakyMachine
) -> None:
    simulate("big", weights_gb=TAKEN)
    engine = await open_engine(memory_gb=400, machine=machine)
    pid = await load_big(engine, simulate, machine)
    os.kill(pid, signal.SIGKILL)
    view = await until_readiness(engine, "big", Readiness.UNLOADED)
    assert view.reason == "memory not returned"
    assert view.refusal is not None
    assert view.refusal.code is Code.INSUFFICIENT_MEMORY
    await until(engine, lambda s: s.memory.reserved == 0)
    assert notices(engine)


async def test_a_crashed_model_restarts_once_its_memory_is_back(
    open_engine: Opener, simulate: Simulate, machine: LeakyMachine
) -> None:
    simulate("big", weights_gb=TAKEN)
    engine = await open_engine(memory_gb=400, machine=machine)
    pid = await load_big(engine, simulate, machine)
    machine.leaked = 0
    os.kill(pid, signal.SIGKILL)
    await until_readiness(engine, "big", Readiness.LOADING)
    await until_readiness(engine, "big", Readiness.ROUTABLE)
    assert not notices(engine)
