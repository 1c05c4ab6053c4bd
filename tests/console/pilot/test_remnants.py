"""A screen that was closed leaves nothing behind: the console runs for days."""

import gc
import weakref
from collections.abc import Callable

from textual.widget import Widget

from console.app import LmxApp
from console.screens.chat import ChatScreen
from console.screens.composer import Composer
from console.screens.log import LogScreen
from tests.console import gallery
from tests.console.scripted import ScriptedEngine
from tests.console.stage import SIZE, open_screen, settle, until

Build = Callable[..., LmxApp]


async def test_a_closed_screen_is_let_go_of_with_its_strips(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    gone: list[weakref.ref[object]] = []
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, LogScreen())  # what is made once is made now
        await pilot.press("escape")
        for _ in range(2):
            await open_screen(app, pilot, ChatScreen("MiniMax-M2.5-4bit"))
            gone.append(weakref.ref(app.screen.query_one(Composer)))
            gone += [weakref.ref(widget._styles_cache) for widget in app.screen.query(Widget)]
            await pilot.press("escape")
            await settle(pilot)
        await open_screen(app, pilot, LogScreen())
        await pilot.press("escape")
        await settle(pilot)

        def left() -> list[str]:
            gc.collect()
            return [type(ref()).__name__ for ref in gone if ref() is not None]

        # A busy machine takes a closed screen apart later.
        await until(pilot, lambda: not left())
