"""The requests screen: who asks what, and cancelling exactly the one that was chosen."""

from collections.abc import Callable

from console.app import LmxApp
from console.screens.requests import RequestsScreen
from engine import Code
from tests.console import gallery
from tests.console.scripted import T0, ScriptedEngine
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle

Build = Callable[..., LmxApp]


def engine() -> ScriptedEngine:
    scripted = ScriptedEngine(gallery.working())
    scripted.set(
        requests=(
            gallery.request(),
            gallery.request(id="req-2", phase="prefill", prefilled=400, started_at=T0 - 2),
            gallery.request(id="req-3", client=HOSTILE, phase="queued", started_at=T0 - 1),
        )
    )
    return scripted


async def test_rows(console: Build) -> None:
    app = console(engine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        text = plain(app)
        assert "Requests 3" in text
        assert "prefill 400 of 812" in text
        assert "queued" in text
        assert_harmless(text)


async def test_a_simulated_model_says_so(console: Build) -> None:
    scripted = engine()
    scripted.change("MiniMax-M2.5-4bit", simulated=True)
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        assert "MiniMax-M2.5-4bit sim" in plain(app)


async def test_x_cancels_the_chosen_one_even_as_rows_move(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        await pilot.press("j")
        scripted.set(requests=scripted.snapshot().requests[1:])
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
        assert [c.arguments["request_id"] for c in scripted.asked("cancel")] == ["req-2"]
        scripted.set(requests=scripted.snapshot().requests[1:])
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
        assert len(scripted.asked("cancel")) == 1


async def test_readonly_and_refusals_are_told(console: Build) -> None:
    scripted = engine()
    app = console(scripted, readonly=True)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        await pilot.press("x")
        await settle(pilot)
        assert not scripted.asked("cancel")
        assert app.news is not None
        assert "read-only" in app.news.message
    scripted.refusals["cancel"] = gallery.refusal(Code.CONFLICT, message="it has just ended")
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        await pilot.press("x")
        await settle(pilot)
        assert app.news is not None
        assert "it has just ended" in app.news.message


async def test_empty(console: Build) -> None:
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RequestsScreen())
        assert "no request is in flight" in plain(app)
