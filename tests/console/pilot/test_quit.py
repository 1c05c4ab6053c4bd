"""The quit dialog names what would end; its focus is on Back."""

from collections.abc import Callable

from console.app import LmxApp
from console.modals.quit import QuitDialog
from engine import Readiness
from tests.console import gallery
from tests.console.scripted import Clock, ScriptedEngine, snapshot_of
from tests.console.stage import (
    HOSTILE,
    SIZE,
    assert_harmless,
    open_screen,
    plain,
    settle,
    until,
)

Build = Callable[..., LmxApp]


async def ask(
    console: Build, *keys: str, wait: float = 1.0, detach: bool = False
) -> tuple[list[object], str]:
    clock = Clock()
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        dialog = QuitDialog(["org/a", HOSTILE], 2, detach=detach, clock=clock)
        answers = await open_screen(app, pilot, dialog)
        text = plain(app)
        clock.advance(wait)
        await pilot.press(*keys)
        return answers, text


async def test_names_models_and_requests(console: Build) -> None:
    answers, text = await ask(console, "enter")
    assert answers == ["back"]
    assert "org/a" in text
    assert "2 requests are in flight" in text
    assert_harmless(text)


async def test_every_way_to_stay_and_to_stop(console: Build) -> None:
    for keys, answer in (
        (("escape",), "back"),
        (("n",), "back"),
        (("y",), "stop"),
        (("tab", "enter"), "stop"),
    ):
        answers, _ = await ask(console, *keys)
        assert answers == [answer], keys


async def test_detaching_is_offered_where_the_engine_could_go_on(console: Build) -> None:
    for keys in (("d",), ("tab", "enter")):
        answers, text = await ask(console, *keys, detach=True)
        assert answers == ["detach"], keys
        assert "goes on without this screen" in text
    answers, text = await ask(console, "d")
    assert answers == []
    assert "Detach" not in text
    answers, _ = await ask(console, "d", detach=True, wait=0.1)
    assert answers == []


async def test_typed_ahead_does_not_stop(console: Build) -> None:
    answers, _ = await ask(console, "y", "tab", "enter", wait=0.1)
    assert answers == []


async def test_many_models_fit(console: Build) -> None:
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, QuitDialog([f"model-{i}" for i in range(40)], 0))
        text = plain(app)
        assert "and 32 more" in text
        assert "Stop (y)" in text


async def test_a_frozen_screen_ends_by_what_is_so_and_not_by_what_it_shows(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.model("org/late", readiness=Readiness.UNLOADED)))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("space")
        engine.change("org/late", readiness=Readiness.ROUTABLE)
        await settle(pilot)
        shown = app.snapshot.model("org/late")
        assert shown is not None
        assert shown.readiness is Readiness.UNLOADED
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, QuitDialog))
        assert "org/late" in plain(app)
