"""Memory that comes back is nobody's business; memory that does not is counted and told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog.entry import CatalogEntry
from engine.events import EventLog
from engine.lives.board import Board
from engine.lives.reclaim import Reclaim
from engine.memory import Budget, Memory
from engine.types import Backend

GB = 10**9
BIG = CatalogEntry("big", Path("/m/big"), Backend.MLX, Path("/m"), "folder", 230 * GB)


class Machine:
    """A 512 GB machine whose free memory is set by hand."""

    def __init__(self) -> None:
        self.free = 500 * GB
        self.looks = 0
        self.back_at_look = 0
        """After so many more looks everything is free again; 0 is never."""

    def __call__(self) -> Memory:
        self.looks += 1
        if self.back_at_look and self.looks >= self.back_at_look:
            self.free = 500 * GB
        return Memory(512 * GB, self.free)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def board() -> Board:
    return Board(lambda: 0.0, lambda bare: bare)


@pytest.fixture
def budget(machine: Machine) -> Budget:
    return Budget(400 * GB, lambda: machine.free)


@pytest.fixture
async def reclaim(
    machine: Machine, board: Board, budget: Budget, tmp_path: Path
) -> AsyncIterator[Reclaim]:
    events = EventLog(tmp_path / "events.jsonl", lambda: 0.0, 100)
    made = Reclaim(budget, board, events, machine, patience_s=0.02, poll_s=0.001)
    yield made
    made.close()
    events.close()


def run(reclaim: Reclaim, machine: Machine, entry: CatalogEntry = BIG, taken: int = 238) -> None:
    """A worker's life up to its end: started, loaded, looked at."""
    reclaim.begin(entry, 250 * GB)
    machine.free -= taken * GB
    reclaim.note(entry.id, taken * GB)
    reclaim.look()


async def test_memory_that_comes_back_late_is_waited_for_and_not_told(
    reclaim: Reclaim, machine: Machine, board: Board
) -> None:
    run(reclaim, machine)
    machine.back_at_look = machine.looks + 5
    reclaim.ended("big")
    await reclaim.settled()
    assert machine.free == 500 * GB, "it did not wait"
    assert reclaim.missing == 0
    assert not board.notices


async def test_what_does_not_come_back_is_told_counted_and_forgiven_once_it_does(
    reclaim: Reclaim, machine: Machine, board: Board, budget: Budget
) -> None:
    run(reclaim, machine)
    reclaim.ended("big")
    await reclaim.settled()
    (notice,) = board.notices.values()
    assert notice.message.startswith("238 GB not returned; a reboot may be needed")
    assert "big" in notice.message
    refusal = budget.check("next", 200 * GB)
    assert refusal is not None
    assert refusal.code == "insufficient_memory"
    assert refusal.expected == "at most 162 GB"
    assert "238 GB were not returned" in refusal.message
    assert "reboot" in refusal.remedy
    machine.free -= 50 * GB  # a browser: not lost by a worker of ours
    reclaim.look()
    assert budget.lost == 238 * GB
    machine.free = 500 * GB
    reclaim.look()
    assert not board.notices
    assert budget.check("next", 200 * GB) is None


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        (BIG, 9),  # not 2 % of the machine
        (replace(BIG, backend=Backend.SIMULATED), 238),
        (replace(BIG, backend=Backend.GGUF), 238),  # 230 of them mapped, which is file cache
    ],
)
async def test_what_takes_little_or_nothing_is_not_judged(
    entry: CatalogEntry, taken: int, reclaim: Reclaim, machine: Machine, board: Board
) -> None:
    run(reclaim, machine, entry, taken)
    reclaim.ended("big")
    await reclaim.settled()
    assert not board.notices


async def test_other_programs_are_no_loss(reclaim: Reclaim, machine: Machine, board: Board) -> None:
    run(reclaim, machine)
    machine.free -= 60 * GB  # somebody compiles for hours
    reclaim.look()
    machine.free += 230 * GB  # within a tenth of what it had taken
    reclaim.ended("big")
    await reclaim.settled()
    assert not board.notices


async def test_another_model_that_loads_meanwhile_is_no_loss(
    reclaim: Reclaim, machine: Machine, board: Board
) -> None:
    run(reclaim, machine)
    other = replace(BIG, id="other")
    reclaim.begin(other, 150 * GB)
    machine.free += 238 * GB
    reclaim.ended("big")
    machine.free -= 140 * GB  # it has not said so yet
    await reclaim.settled()
    assert not board.notices
    reclaim.note("other", 140 * GB)
    reclaim.look()
    machine.free += 140 * GB
    reclaim.ended("other")
    await reclaim.settled()
    assert not board.notices


async def test_two_losses_add_up_and_are_forgiven_one_by_one(
    reclaim: Reclaim, machine: Machine, board: Board, budget: Budget
) -> None:
    for name, taken in (("a", 100), ("b", 60)):
        run(reclaim, machine, replace(BIG, id=name), taken)
        reclaim.ended(name)
        await reclaim.settled()
    assert budget.lost == 160 * GB
    machine.free += 60 * GB
    reclaim.look()
    assert budget.lost == 100 * GB
    (notice,) = board.notices.values()
    assert notice.message.startswith("100 GB not returned")


async def test_an_engine_that_ends_waits_for_nothing(
    machine: Machine, board: Board, budget: Budget, tmp_path: Path
) -> None:
    events = EventLog(tmp_path / "events.jsonl", lambda: 0.0, 100)
    reclaim = Reclaim(budget, board, events, machine, patience_s=600)
    for name in ("a", "b"):
        run(reclaim, machine, replace(BIG, id=name), 100)
    reclaim.ended("a")
    waiting = asyncio.create_task(reclaim.settled())
    await asyncio.sleep(0)
    reclaim.close()
    reclaim.ended("b")
    async with asyncio.timeout(5):
        await waiting
    assert not board.notices
    events.close()
