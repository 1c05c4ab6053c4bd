"""An engine that does not start: the console leaves with a sentence, or says so and goes on."""

from collections.abc import Callable

import pytest

from console.app import LmxApp
from engine import HomeTaken, HomeUnusable
from tests.console.scripted import Call, Clock, ScriptedEngine, snapshot_of
from tests.console.stage import SIZE, plain, settle, until

Build = Callable[..., LmxApp]


@pytest.mark.parametrize("error", [HomeTaken("process 7"), HomeUnusable("LMX_HOME is a file")])
async def test_a_home_that_cannot_be_had_ends_it(
    console: Build, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(snapshot_of(started=False))
    engine.start_error = error
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 1
    assert str(error) in capsys.readouterr().err


async def test_any_other_failure_is_a_lasting_banner_and_commands_say_so(console: Build) -> None:
    engine, clock = ScriptedEngine(snapshot_of(started=False)), Clock()
    engine.start_error = OSError("no space left")
    app = console(engine, clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "the engine did not start" in plain(app))
        clock.advance(60)
        engine.set()
        await settle(pilot)
        assert "no space left" in plain(app)
        await pilot.press("f5")
        await settle(pilot)
        assert "the engine has not started" in plain(app)
        assert not engine.asked("rescan")


class RecordedOutlet:
    """Keeps what was asked of it, in one list with the engine's own calls."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    async def open(self) -> None:
        self._engine.calls.append(Call("open", "", {}))

    async def close(self, drain_s: float = 1.0) -> None:
        self._engine.calls.append(Call("close", "", {}))


@pytest.mark.parametrize("fails", [False, True])
async def test_the_api_opens_after_the_engine_and_only_in_front_of_one(
    fails: bool, console: Build
) -> None:
    engine = ScriptedEngine()
    engine.start_error = OSError("no") if fails else None
    app = console(engine, outlet=RecordedOutlet(engine))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: bool(engine.asked("open")) or app.trouble is not None)
        await settle(pilot)
        app.end()
        await until(pilot, lambda: bool(engine.asked("close")))
    called = [call.name for call in engine.calls]
    assert called[: 1 if fails else 2] == ["start", "open"][: 1 if fails else 2]
    assert ("open" in called) is not fails
