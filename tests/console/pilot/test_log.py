"""The log screen: bounded, following until the reader moves, searchable."""

from collections.abc import Callable

from console.app import LmxApp
from console.screens.log import KEPT, LogScreen
from engine import Event, Notice
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, snapshot_of
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


async def test_it_says_who_did_it_and_to_what(console: Build) -> None:
    long = gallery.event("loading " * 20, "pretender", 1, actor="alice@10.0.0.7")
    app = console(ScriptedEngine(snapshot_of(gallery.routable("pretender", simulated=True))))
    app.engine.set(events=(long, gallery.event("nobody's", seq=2, actor="")))  # type: ignore[attr-defined]
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        first, second = (line for line in plain(app).split("\n") if "14:02:11" in line)
        assert "pretender sim  loading" in first
        assert first.rstrip("│ ").endswith("  alice@10.0.0.7")
        assert second.rstrip("│ ").endswith("nobody's")


async def test_every_notice_stands_whole_over_the_events(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    words = [f"notice {i} of a full disk " + "word " * 30 + f"end{i}" for i in range(3)]
    engine.set(events=events(1, 60), notices=tuple(Notice(w[:8], w, "error") for w in words))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        told = " ".join(plain(app).split())
        assert all(" ".join(word.split()) in told for word in words)
        assert "event number 0060" in told
        await pilot.press("g")
        await settle(pilot)
        assert "end2" in plain(app)
        engine.set(notices=())
        await settle(pilot)
        assert "full disk" not in plain(app)
        engine.set(notices=tuple(Notice(str(i), "word " * 90) for i in range(9)))
        await settle(pilot)
        assert "more lines: the terminal is too low" in plain(app)
        assert "event number 0001" in plain(app)


async def test_hostile_events(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.set(events=(gallery.event(HOSTILE, HOSTILE, 9, level="error", actor=HOSTILE),))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())
        assert_harmless(plain(app))
