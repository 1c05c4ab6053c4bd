"""Keys that arrive in one piece, as over a slow line: none is lost and none goes astray."""

from collections.abc import Callable
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from console.app import LmxApp
from console.modals.confirm import ConfirmDialog
from console.modals.load import LoadDialog
from console.screens.chat import ChatScreen
from console.screens.composer import Composer
from console.screens.dashboard import DashboardScreen
from console.screens.help import HelpScreen
from console.screens.log import LogScreen
from console.widgets.filter import FilterBar
from engine import LoadOptions
from tests.console import gallery
from tests.console.scripted import ScriptedEngine
from tests.console.stage import SIZE, open_screen, settle, until

Build = Callable[..., LmxApp]


def burst(app: LmxApp, *keys: str) -> None:
    """Hand keys over as a terminal's one read does: none waits for what the one before does."""
    for key in keys:
        character = key[-1] if len(key) == 1 or key.startswith("alt+") else None
        event = events.Key(key, "\r" if key == "enter" else character)
        event.set_sender(app)
        app.post_message(event)


async def chosen(app: LmxApp, pilot: Pilot[None], model_id: str) -> DashboardScreen:
    await settle(pilot)
    screen = app.screen
    assert isinstance(screen, DashboardScreen)
    screen.target_id = model_id
    screen.redraw()
    return screen


@pytest.mark.parametrize("rest", [("l",), ("L",)])
async def test_a_letter_close_behind_esc_is_not_lost(console: Build, rest: tuple[str]) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "Qwen3-8B-Q4_K_M")
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)
        burst(app, f"alt+{rest[0]}")
        wanted = LoadDialog if rest[0] == "l" else LogScreen
        await until(pilot, lambda: isinstance(app.screen, wanted))
        assert screen.target_id == "Qwen3-8B-Q4_K_M"


async def test_esc_and_a_letter_in_a_dialog_close_it_and_move(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "MiniMax-M2.5-4bit")
        await pilot.press("u")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        burst(app, "alt+j")
        await until(pilot, lambda: screen.target_id == "Qwen3-8B-Q4_K_M")
        assert len(app.screen_stack) == 1
        assert not engine.asked("unload")


async def test_in_the_chat_esc_and_a_letter_leave_and_act_below(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "MiniMax-M2.5-4bit")
        await open_screen(app, pilot, ChatScreen("MiniMax-M2.5-4bit"))
        app.screen.query_one(Composer).text = "draft"
        burst(app, "alt+j")
        await until(pilot, lambda: screen.target_id == "Qwen3-8B-Q4_K_M")


@pytest.mark.parametrize("times", [1, 2])
async def test_esc_and_then_keys_act_on_what_esc_leads_back_to(console: Build, times: int) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "MiniMax-M2.5-4bit")
        await pilot.press("enter")
        await settle(pilot)
        if times == 2:
            await pilot.press("u")
            await settle(pilot)
            assert isinstance(app.screen, ConfirmDialog)
        burst(app, *["escape"] * times, "j", "l")
        await until(pilot, lambda: isinstance(app.screen, LoadDialog))
        assert screen.target_id == "Qwen3-8B-Q4_K_M"


async def test_an_esc_that_closes_nothing_holds_no_key(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "MiniMax-M2.5-4bit")
        burst(app, "escape", "j", "slash", "escape", "k")
        await until(pilot, lambda: not app.gate.closed and screen.focused is not None)
        await until(pilot, lambda: screen.target_id == "MiniMax-M2.5-4bit")


async def test_a_filter_in_one_piece_is_typed_and_commands_nothing(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "MiniMax-M2.5-4bit")
        burst(app, "slash", *"suhilM", "enter")
        await until(pilot, lambda: screen.query_one(FilterBar).text == "suhilM")
        await until(pilot, lambda: not screen.query_one(FilterBar).has_class("-open"))
        assert app.screen is screen
        assert app.news is None, "no letter was taken for a command"


async def test_load_and_enter_in_one_piece_load_the_selected_model(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await chosen(app, pilot, "MiniMax-M2.5-4bit")
        burst(app, "j", "l", "enter")
        await until(pilot, lambda: bool(engine.asked("load")))
        (call,) = engine.asked("load")
        assert call.model_id == "Qwen3-8B-Q4_K_M"
        options: Any = call.arguments["options"]
        assert options == LoadOptions()


async def test_unload_and_yes_in_one_piece_decide_nothing(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await chosen(app, pilot, "MiniMax-M2.5-4bit")
        burst(app, "u", "y", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        assert not engine.asked("unload")


async def test_moving_in_one_piece_moves_by_as_many_lines(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        screen = await chosen(app, pilot, "broken-13B")
        burst(app, *"jjjj")
        await until(pilot, lambda: screen.target_id == "Qwen3-8B-Q4_K_M")
        burst(app, *"kk")
        await until(pilot, lambda: screen.target_id == "Kimi-K2.5-3bit")
