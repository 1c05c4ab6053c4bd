"""The registry screen: filter, sort, and the way to a model."""

from collections.abc import Callable

from console.app import LmxApp
from console.screens.dashboard import DashboardScreen
from console.screens.detail import DetailScreen
from console.screens.registry import RegistryScreen
from engine import RegistryRow
from tests.console import gallery
from tests.console.scripted import T0, ScriptedEngine
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle

Build = Callable[..., LmxApp]


def rows(app: LmxApp) -> list[str]:
    return [line for line in plain(app).split("\n") if " pass " in line or " fail " in line]


async def test_rows_sort_and_filter(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        assert "Registry 3 of 3" in plain(app)
        assert "MiniMax" in rows(app)[0]
        await pilot.press("s")
        assert "GLM-5" in rows(app)[0]
        await pilot.press("slash", *"crash", "enter")
        await settle(pilot)
        assert len(rows(app)) == 1
        assert "Kimi" in rows(app)[0]
        await pilot.press("escape")
        await settle(pilot)
        assert len(rows(app)) == 3
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)


async def test_enter_goes_to_the_model_of_the_chosen_row(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        await pilot.press("j", "enter")
        await settle(pilot)
        assert isinstance(app.screen, DetailScreen)
        assert app.screen.target_id == "Kimi-K2.5-3bit"


async def test_the_chosen_row_stays_chosen_while_rows_arrive(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        await pilot.press("j")
        new = RegistryRow(T0 + 1, "new", "mlx", "v", "pass", "canary 9/9")
        engine.set(registry=(new, *gallery.registry()), registry_total=4)
        await settle(pilot)
        chosen = app.selection().model
        assert chosen is not None
        assert chosen.id == "Kimi-K2.5-3bit"


async def test_hostile_and_twin_rows(console: Build) -> None:
    bad = RegistryRow(T0, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    app = console(ScriptedEngine(gallery.working()))
    app.engine.set(registry=(bad,) * 300, registry_total=12_345)  # type: ignore[attr-defined]
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        assert_harmless(plain(app))
        assert "300 of 12,345" in plain(app)
        await pilot.press("j", "j", "G", "pageup", "g", "slash", *"[/red]", "enter")
        await settle(pilot)
        assert_harmless(plain(app))


async def test_empty(console: Build) -> None:
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        assert "nothing has been proved" in plain(app)
        await pilot.press("j", "enter", "G")
        await settle(pilot)
        assert isinstance(app.screen, RegistryScreen)
