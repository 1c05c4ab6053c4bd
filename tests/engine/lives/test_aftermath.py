import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, EngineError
from engine.services import Services
from tests.engine.private import private
from tests.engine.puppet import PuppetPlacement
from tests.forge import write_simulated

MODEL = "subject"


class House:
    """An engine whose one model is at a test's mercy, and what its disk held as rows were
    written."""

    def __init__(self, folder: Path, placement: PuppetPlacement) -> None:
        write_simulated(folder / "models" / MODEL, weights_gb=1)
        self.placement = placement
        self.on_disk: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.home = folder / "home"
        settings = private(folder, quarantining={"backoff_s": (60.0,)})
        self.engine = Engine(settings, placement=placement)

    async def written(self, *row: Any) -> None:
        """In place of the registry: the event of the row, and the state file at that moment."""
        self.on_disk.put_nowait((row[4], json.loads((self.home / "state.json").read_bytes())))


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    house = House(tmp_path, PuppetPlacement())
    monkeypatch.setattr(Services, "write_down", house.written)
    await house.engine.start()
    yield house
    await house.engine.stop()


async def test_a_strike_is_on_disk_before_the_model_is_started_again(house: House) -> None:
    await house.engine.load(MODEL, actor="test", wait=True)
    event, state = await house.on_disk.get()
    assert (event, state["cases"]) == ("canary", [])
    house.placement.alive[0].end(-11)
    async with asyncio.timeout(10):
        event, state = await house.on_disk.get()
    assert event == "strike"
    assert [len(case["strikes"]) for case in state["cases"]] == [1]
    assert not house.placement.alive


async def test_a_failed_canary_is_on_disk_before_anybody_is_told(house: House) -> None:
    house.placement.sick = True
    with pytest.raises(EngineError):
        await house.engine.load(MODEL, actor="test", wait=True)
    event, state = house.on_disk.get_nowait()
    assert event == "canary"
    assert [case["sentence"]["kind"] for case in state["cases"]] == ["canary"]
