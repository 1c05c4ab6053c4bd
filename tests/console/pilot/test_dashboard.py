"""The dashboard under real key presses: what each key asks of the engine, and of which model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from console.app import LmxApp
from console.modals.confirm import ConfirmDialog
from console.modals.load import LoadDialog
from console.modals.override import OverrideDialog
from console.modals.quit import QuitDialog
from console.screens.dashboard import DashboardScreen
from console.screens.detail import DetailScreen
from console.screens.explain import ExplainScreen
from console.screens.help import HelpScreen
from console.screens.log import LogScreen
from console.screens.registry import RegistryScreen
from console.screens.requests import RequestsScreen
from console.screens.small import SmallScreen
from console.widgets.canary import CanaryPanel
from console.widgets.lines import LinePanel
from console.widgets.models import ModelsPanel
from console.widgets.quarantine import QuarantinePanel
from console.widgets.registry import RegistryPanel
from engine import Code, LoadOptions, Readiness
from tests.console import gallery
from tests.console.scripted import Clock, ScriptedEngine, snapshot_of

Build = Callable[..., LmxApp]
SIZE = (120, 36)


def dashboard(app: LmxApp) -> DashboardScreen:
    return next(s for s in app.screen_stack if isinstance(s, DashboardScreen))


def shown(app: LmxApp, selector: str = "#event") -> str:
    panel = dashboard(app).query_one(selector, LinePanel)
    return "\n".join("".join(cell.text for cell in line) for line in panel.lines)


async def settle(pilot: Pilot[None]) -> None:
    """Pull, and let every message and worker that can end do so."""
    pilot.app.pump.pull()  # type: ignore[attr-defined]
    for _ in range(3):
        await pilot.pause()


async def select(pilot: Pilot[None], model_id: str) -> None:
    await settle(pilot)
    await pilot.press("g")
    for _ in range(50):
        if dashboard(pilot.app).target_id == model_id:  # type: ignore[arg-type]
            return
        await pilot.press("j")
    raise AssertionError(f"{model_id} is not in the list")


async def answer(app: LmxApp, pilot: Pilot[None], result: Any) -> None:
    """Close the dialog in front with a result, as its own tests show that its keys do."""
    app.screen.dismiss(result)
    await settle(pilot)


async def test_the_first_paint_comes_before_the_engine_starts(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(started=False))
    painted: list[bool] = []

    async def start() -> None:
        painted.append(bool(shown(app, "#header")))
        engine.set(gallery.working())

    engine.start = start  # type: ignore[method-assign]
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert painted == [True]
        assert "MiniMax" in shown(app, "#models")


async def test_load_carries_the_version_of_the_key_press(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "Qwen3-8B-Q4_K_M")
        await pilot.press("l")
        await settle(pilot)
        dialog = app.screen
        assert isinstance(dialog, LoadDialog)
        # The world moves on while the dialog is open: the target does not.
        engine.change("Qwen3-8B-Q4_K_M", readiness=Readiness.ADMITTED)
        dashboard(app).target_id = "broken-13B"
        await settle(pilot)
        await dialog._load(LoadOptions(context=8192))
        await answer(app, pilot, None)
        (call,) = engine.asked("load")
        assert call.model_id == "Qwen3-8B-Q4_K_M"
        assert call.arguments["expect"] == 3
        assert call.arguments["actor"] == "ops@local"
        assert call.arguments["options"].context == 8192


async def test_unload_asks_and_back_does_nothing(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "MiniMax-M2.5-4bit")
        await pilot.press("u")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("escape")
        await settle(pilot)
        assert engine.asked("unload") == []
        await pilot.press("u")
        await settle(pilot)
        await answer(app, pilot, True)
        (call,) = engine.asked("unload")
        assert (call.model_id, call.arguments["expect"]) == ("MiniMax-M2.5-4bit", 3)


async def test_override_shows_the_explanation_first(console: Build) -> None:
    backend = gallery.refusal(Code.MODEL_UNSUPPORTED_BACKEND, overridable=True)
    engine = ScriptedEngine(snapshot_of(gallery.refused(refusal=backend)))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "broken-13B")
        await pilot.press("o")
        await settle(pilot)
        assert isinstance(app.screen, OverrideDialog)
        assert engine.asked("explain")
        await answer(app, pilot, LoadOptions(allow_unsupported_runtime=True))
        (call,) = engine.asked("load")
        assert call.arguments["options"].allow_unsupported_runtime


async def test_release_is_early_only_after_a_confirm(console: Build) -> None:
    engine, clock = ScriptedEngine(gallery.working()), Clock()
    app = console(engine, clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "Kimi-K2.5-3bit")
        await pilot.press("r")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        await answer(app, pilot, True)
        assert engine.asked("release")[0].arguments["early"] is True
        clock.advance(300)
        await pilot.press("r")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        assert engine.asked("release")[1].arguments["early"] is False


async def test_hold_and_canary_reach_the_engine(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "MiniMax-M2.5-4bit")
        await pilot.press("C")
        await settle(pilot)
        assert engine.asked("canary")[0].model_id == "MiniMax-M2.5-4bit"
        await pilot.press("h")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmDialog)
        await answer(app, pilot, True)
        assert engine.asked("hold")[0].arguments["expect"] == 3


@pytest.mark.parametrize(
    ("key", "screen"),
    [
        ("e", ExplainScreen),
        ("enter", DetailScreen),
        ("i", RequestsScreen),
        ("R", RegistryScreen),
        ("L", LogScreen),
        ("question_mark", HelpScreen),
        ("f1", HelpScreen),
    ],
)
async def test_a_key_opens_its_screen_and_esc_leaves_it(
    console: Build, key: str, screen: type[Screen[None]]
) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(key)
        await settle(pilot)
        assert isinstance(app.screen, screen)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, DashboardScreen)


async def test_a_key_that_does_not_apply_says_why(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "Qwen3-8B-Q4_K_M")
        for key, why in (("u", "nothing to unload"), ("c", "not routable"), ("r", "quarantined")):
            await pilot.press(key)
            await settle(pilot)
            assert why in shown(app)
        assert [call.name for call in engine.calls] == ["start"]


async def test_readonly_refuses_what_changes_anything(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine, readonly=True)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "MiniMax-M2.5-4bit")
        for key in ("l", "o", "u", "c", "r", "h", "C"):
            await pilot.press(key)
            await settle(pilot)
            assert isinstance(app.screen, DashboardScreen)
            assert "read-only" in shown(app)
        assert [call.name for call in engine.calls] == ["start"]
        assert "READ-ONLY" in shown(app, "#header")


async def test_a_refusal_is_words_with_a_remedy(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    engine.refusals["canary"] = gallery.refusal(Code.CONFLICT, message="it moved", remedy="look")
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "MiniMax-M2.5-4bit")
        await pilot.press("C")
        await settle(pilot)
        assert "it moved; look" in shown(app)


async def test_an_unforeseen_failure_is_said_and_the_screen_lives(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())

    async def rescan() -> None:
        raise OSError("[/red] disk \x1b[31mgone")

    engine.rescan = rescan  # type: ignore[method-assign]
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("f5")
        await settle(pilot)
        assert "OSError: [/red] disk ␛[31mgone" in shown(app)


async def test_selection_follows_the_id_through_sort_filter_and_refresh(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "Kimi-K2.5-3bit")
        screen = dashboard(app)
        for _ in range(3):
            await pilot.press("s")
            await settle(pilot)
            panel = screen.query_one(ModelsPanel)
            assert screen.target_id == "Kimi-K2.5-3bit"
            assert panel.ids[panel._cursor or 0] == "Kimi-K2.5-3bit"
        engine.set(models=tuple(reversed(app.snapshot.models)))
        await settle(pilot)
        assert screen.target_id == "Kimi-K2.5-3bit"
        await pilot.press("slash", "m", "l", "x", "enter")
        await settle(pilot)
        assert screen.target_id == "Kimi-K2.5-3bit"
        assert len(screen.query_one(ModelsPanel).ids) == 3
        await pilot.press("escape")
        await settle(pilot)
        assert len(screen.query_one(ModelsPanel).ids) == 6
        assert screen.target_id == "Kimi-K2.5-3bit"


async def test_a_selection_that_vanishes_does_not_slide_to_a_neighbour(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await select(pilot, "Qwen3-8B-Q4_K_M")
        left = tuple(m for m in app.snapshot.models if m.id != "Qwen3-8B-Q4_K_M")
        engine.set(models=left)
        await settle(pilot)
        await pilot.press("l")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        assert "no model is selected" in shown(app)


async def test_rows_stay_in_place_when_states_change(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("s")
        await settle(pilot)
        before = dashboard(app).query_one(ModelsPanel).ids
        engine.change("MiniMax-M2.5-4bit", readiness=Readiness.UNLOADED)
        await settle(pilot)
        assert dashboard(app).query_one(ModelsPanel).ids == before


async def test_letters_in_the_filter_are_letters(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("slash", "q", "u", "question_mark", "space", "colon")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        assert dashboard(app).query_one("#filter").text == "qu? :"  # type: ignore[attr-defined]
        assert not app.pump.paused
        assert [call.name for call in engine.calls] == ["start"]


async def test_panels_on_their_numbers_at_80x24(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen = dashboard(app)
        kinds = (RegistryPanel, CanaryPanel, QuarantinePanel)
        for key, kind in (("2", kinds[1]), ("3", kinds[2]), ("4", kinds[0]), ("1", kinds[0])):
            await pilot.press(key)
            await settle(pilot)
            visible = [k for k in kinds if screen.query_one(k).size.height]
            assert visible == [kind]
            assert screen.query_one(ModelsPanel).size.height


async def test_pause_freezes_the_screen_and_says_so(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("space")
        engine.change("MiniMax-M2.5-4bit", readiness=Readiness.UNLOADED)
        await settle(pilot)
        assert "PAUSED" in shown(app, "#header")
        assert "routable" in shown(app, "#models")
        await pilot.press("space")
        await settle(pilot)
        assert "routable" not in shown(app, "#models")


async def test_a_silent_engine_is_called_stale(console: Build) -> None:
    engine, clock = ScriptedEngine(gallery.working()), Clock()
    app = console(engine, clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        engine.broken = RuntimeError("gone")
        clock.advance(5)
        dashboard(app).redraw()
        await pilot.pause()
        assert "STALE 5 s" in shown(app, "#header")
        assert dashboard(app).has_class("-stale")


async def test_hostile_names_reach_neither_markup_nor_the_terminal(console: Build) -> None:
    names = [
        "[bold red]x[/]",
        "[/]",
        "a\x1b]52;c;eA==\x07b",
        "x\u202egnp.exe",
        "\n\r\t",
        "漢字" * 60,
    ]
    models = [gallery.routable(name, requests=0) for name in names]
    hostile = "\x1b[2J[red"
    engine = ScriptedEngine(
        snapshot_of(
            *models,
            quarantine=tuple(gallery.case(name, reason=hostile) for name in names),
            registry=tuple(replace(r, model_id=names[0]) for r in gallery.registry()),
            events=(gallery.event(hostile, names[2]),),
        )
    )
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        for _ in names:
            await pilot.press("j")
            await settle(pilot)
            text = "".join(strip.text for strip in app.screen._compositor.render_strips())
            assert not any(ord(c) < 0x20 or c in "\x7f\u202e" for c in text)
        assert "[bold red]x[/]" in shown(app, "#models")
        app.report("[/nope] \x1b[0m")
        await settle(pilot)


async def test_q_asks_while_models_are_live_and_ends_the_engine(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("q")
        await settle(pilot)
        assert isinstance(app.screen, QuitDialog)
        await answer(app, pilot, "back")
        assert not engine.asked("stop")
        await pilot.press("q")
        await settle(pilot)
        await answer(app, pilot, "stop")
    assert engine.stopped
    assert app.return_code == 0


async def test_q_ends_at_once_when_nothing_is_live(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.model("m")))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("q")
        await settle(pilot)
    assert engine.stopped


async def test_a_taken_home_ends_the_console_with_a_sentence(console: Build) -> None:
    from engine import HomeTaken

    engine = ScriptedEngine()
    engine.start_error = HomeTaken.__new__(HomeTaken)
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
    assert app.return_code == 1


async def test_an_engine_that_cannot_start_is_said_on_screen(console: Build) -> None:
    engine = ScriptedEngine()
    engine.start_error = PermissionError("no home")
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "did not start: PermissionError: no home" in shown(app, "#notices")


async def test_the_palette_runs_a_command(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("colon")
        await settle(pilot)
        await pilot.press(*"rescan")
        await app.workers.wait_for_complete()
        await pilot.pause(0.2)
        await pilot.press("enter")
        await pilot.pause(0.2)
        await settle(pilot)
        assert engine.asked("rescan")


async def test_too_small_is_said_and_passes(console: Build) -> None:
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.resize_terminal(50, 12)
        await settle(pilot)
        assert isinstance(app.screen, SmallScreen)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)


async def test_keys_can_be_remapped_by_id(console: Build) -> None:
    engine = ScriptedEngine(gallery.working())
    app = console(engine, keymap={"rescan": "f6", "sort": "t"})
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        for shows in ("t sort", "f6 rescan"):
            assert shows in shown(app, "#footer"), "what is shown is what works"
        await pilot.press("question_mark")
        await settle(pilot)
        keys = {
            line[0].text + line[1].text
            for line in app.screen.query_one("#sheet").lines  # type: ignore[attr-defined]
            if len(line) > 2
        }
        assert any(key.split() == ["t"] for key in keys)
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("f5")
        await settle(pilot)
        assert not engine.asked("rescan")
        await pilot.press("f6")
        await settle(pilot)
        assert engine.asked("rescan")
