"""The dashboard's panels as widgets: what is out of sight, after a resize, and repainted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from console.app import LmxApp
from console.modals.confirm import ConfirmDialog
from console.screens.dashboard import DashboardScreen
from console.screens.registry import RegistryScreen
from console.widgets.canary import CanaryPanel
from console.widgets.footer import FooterLine
from console.widgets.lines import LinePanel
from console.widgets.models import ModelsPanel
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, snapshot_of
from tests.console.stage import SIZE, open_screen, plain, settle

Build = Callable[..., LmxApp]


def dashboard(app: LmxApp) -> DashboardScreen:
    return next(s for s in app.screen_stack if isinstance(s, DashboardScreen))


async def test_rows_out_of_sight_are_counted(console: Build) -> None:
    many = snapshot_of(*(gallery.model(f"m{i:02}") for i in range(24)))
    engine = ScriptedEngine(many)
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        panel = dashboard(app).query_one(ModelsPanel)
        room = panel.size.height - 1
        assert 0 < room < 24
        assert f" 1-{room} of 24 " in plain(app)
        await pilot.press("G")
        await settle(pilot)
        assert f" {25 - room}-24 of 24 " in plain(app)
        engine.set(models=many.models[:3])
        await settle(pilot)
        assert " of 24" not in plain(app)


async def test_canary_steps_out_of_sight_are_counted(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(gallery.routable("m"))))
    async with app.run_test(size=(80, 18)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        panel = dashboard(app).query_one(CanaryPanel)
        assert f" 1-{panel.size.height} of 10 " in plain(app)
        await pilot.press("j")
        await settle(pilot)
        assert f" 2-{panel.size.height + 1} of 10 " in plain(app)


async def test_a_second_without_news_repaints_no_panel(
    console: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subtitle set anew would repaint its whole border every second."""
    many = snapshot_of(*(gallery.model(f"m{i:02}") for i in range(24)))
    app = console(ScriptedEngine(many))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        painted: list[Any] = []

        def refresh(panel: LinePanel, *_: Any, **__: Any) -> LinePanel:
            painted.append(panel)
            return panel

        monkeypatch.setattr(LinePanel, "refresh", refresh)
        dashboard(app).redraw()
        await pilot.pause()
        assert painted == []


async def test_the_footer_fits_again_behind_a_dialog(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        dashboard(app).target_id = "MiniMax-M2.5-4bit"
        dashboard(app).redraw()
        await pilot.press("u")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.resize_terminal(70, 24)
        await settle(pilot)
        (line,) = dashboard(app).query_one(FooterLine).lines
        text = "".join(cell.text for cell in line)
        assert len(text) <= 70
        assert "quit" in text
        assert "unload" in text


async def test_the_registry_screens_heads_stand_over_its_columns(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    row = replace(gallery.registry()[0], backend_version="llama-cpp-python 0.3.36")
    engine.set(registry=(row,))
    app = console(engine)
    for size in ((60, 16), (80, 24), (120, 36), (200, 50)):
        async with app.run_test(size=size) as pilot:
            await open_screen(app, pilot, RegistryScreen())
            lines = plain(app).split("\n")
            head = next(line for line in lines if "BACKEND" in line)
            first = next(line for line in lines if " pass " in line)
            assert head.index("MODEL") == first.index("MiniM")
            assert head.index("BACKEND") == first.index("llama")
            assert head.index("REASON") == first.index("canary")
            assert "0.3.36" in first
        app = console(engine)
