"""The log screen: bounded, following until the reader moves, searchable."""

from collections.abc import Callable

from console.app import LmxApp
from console.screens.log import KEPT, LogScreen
from engine import Event
from tests.console import gallery
from tests.console.scripted import ScriptedEngine
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle

Build = Callable[..., LmxApp]


def events(first: int, last: int) -> tuple[Event, ...]:
    return tuple(gallery.event(f"event number {i:04}", seq=i) for i in range(first, last + 1))


async def test_it_follows_until_the_reader_moves(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.set(events=events(1, 60))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        assert "event number 0060" in plain(app)
        engine.set(events=events(1, 70))
        await settle(pilot)
        assert "event number 0070" in plain(app)
        await pilot.press("g")
        await settle(pilot)
        assert "event number 0001" in plain(app)
        engine.set(events=events(20, 80))
        await settle(pilot)
        assert "event number 0001" in plain(app)
        assert "not following" in plain(app)
        await pilot.press("f")
        await settle(pilot)
        assert "event number 0080" in plain(app)


async def test_search(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.set(events=events(1, 60))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        await pilot.press("slash", *"0007", "enter")
        await settle(pilot)
        assert "Log 1 of 60" in plain(app)
        assert "event number 0007" in plain(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "Log 60 of 60" in plain(app)


async def test_it_is_bounded(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.set(events=events(1, KEPT + 50))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        assert f"Log {KEPT:,} of {KEPT:,}" in plain(app)


async def test_hostile_events(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.set(events=(gallery.event(HOSTILE, HOSTILE, 9, level="error", actor=HOSTILE),))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        assert_harmless(plain(app))
