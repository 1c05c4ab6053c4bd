"""The registry screen: filter, sort, and the way to a model."""

from collections.abc import Callable
from dataclasses import replace

from console.app import LmxApp
from console.screens.dashboard import DashboardScreen
from console.screens.detail import DetailScreen
from console.screens.registry import HELD, RegistryScreen
from engine import RegistryRow
from tests.console import gallery
from tests.console.scripted import T0, ScriptedEngine
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle, until

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


async def test_thousands_of_rows_and_those_that_come_meanwhile(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.older = tuple(
        RegistryRow(T0 - 700 - i, f"old-{i:05}", "mlx", "v", "pass", "canary 9/9")
        for i in range(HELD + 50)
    )
    engine.set(registry_total=3 + len(engine.older))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        await until(pilot, lambda: f"Registry {HELD:,} of {HELD + 53:,}" in plain(app))
        await pilot.press("G")
        await settle(pilot)
        assert "old-04996" in plain(app)
        assert app.screen.sheet._lines._drawn.keys() != set(range(HELD)), "only those in sight"  # type: ignore[attr-defined]
        await pilot.press("k", "k")
        new = RegistryRow(T0 + 1, "new", "mlx", "v", "pass", "canary 9/9")
        engine.set(registry=(new, *gallery.registry()), registry_total=4 + len(engine.older))
        await settle(pilot)
        assert app.screen.chosen[1] == "old-04994"  # type: ignore[attr-defined]
        assert "old-04994" in plain(app), "the reader stays where he reads"
        await pilot.press("slash", *"old-04", "enter")
        await settle(pilot)
        assert "Registry 996 of" in plain(app)
        await pilot.press("escape", "g")
        await settle(pilot)
        assert "new" in rows(app)[0]
        # So much has come that the snapshot no longer meets what is held: fetched again.
        burst = tuple(replace(new, ts=T0 + 10 + i, model_id=f"burst-{i}") for i in range(9, 0, -1))
        engine.older = (new, *gallery.registry(), *engine.older)
        engine.set(registry=burst[:3], registry_total=13 + len(engine.older))
        await settle(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "burst-9" in rows(app)[0])


async def test_a_canary_is_run_again_from_its_row(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        await pilot.press("C")
        await settle(pilot)
        assert [call.model_id for call in engine.asked("canary")] == ["MiniMax-M2.5-4bit"]
        await pilot.press("j", "C")
        await settle(pilot)
        assert "quarantined, not routable" in plain(app)
        assert len(engine.asked("canary")) == 1


async def test_empty(console: Build) -> None:
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, RegistryScreen())
        assert "nothing has been proved" in plain(app)
        await pilot.press("j", "enter", "G")
        await settle(pilot)
        assert isinstance(app.screen, RegistryScreen)
