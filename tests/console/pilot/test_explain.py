"""The admission report shows every check, and asks again on demand."""

from collections.abc import Callable
from dataclasses import replace

from console.app import LmxApp
from console.screens.dashboard import DashboardScreen
from console.screens.explain import ExplainScreen
from engine import Check, CheckResult, Code
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, snapshot_of
from tests.console.stage import (
    ARCHITECTURE,
    HOSTILE,
    MEMORY,
    SIZE,
    assert_harmless,
    open_screen,
    plain,
    report,
    settle,
)

Build = Callable[..., LmxApp]
MODEL = gallery.model("GLM-5-2.5bit", 185, "mlx")


async def test_every_check_with_its_answer(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(MODEL))
    warning = Check("registry", CheckResult.WARN, "no failure here", "failed on mlx-lm 0.30.7")
    full = report(MODEL, ARCHITECTURE, MEMORY)
    engine.explanations[MODEL.id] = replace(full, checks=(*full.checks, warning))
    app = console(engine)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_screen(app, pilot, ExplainScreen(MODEL.id))
        text = plain(app)
        for word in (
            *("refused: model_unsupported_arch, 2 checks block", "quarantine", "present", "safe"),
            *(ARCHITECTURE.expected, ARCHITECTURE.found, ARCHITECTURE.message, ARCHITECTURE.remedy),
            *("insufficient_memory", "override skips it", "failed on mlx-lm 0.30.7", "warn"),
            *(MODEL.path, "fp-8c1d20"),
        ):
            assert word in text, word


async def test_f5_asks_again_and_escape_leaves(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(MODEL))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ExplainScreen(MODEL.id))
        assert "admitted" in plain(app)
        engine.explanations[MODEL.id] = report(MODEL, ARCHITECTURE)
        await pilot.press("f5")
        await settle(pilot)
        assert "refused" in plain(app)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)


async def test_a_gate_that_refuses_or_breaks_is_told(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(MODEL))
    engine.refusals["explain"] = gallery.refusal(Code.MODEL_NOT_FOUND, message="no such model")
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ExplainScreen("gone"))
        assert "model_not_found: no such model" in plain(app)


async def test_hostile_answers_stay_text_and_scroll(console: Build) -> None:
    model = gallery.model(HOSTILE)
    engine = ScriptedEngine(snapshot_of(model))
    bad = Check("complete", CheckResult.FAIL, HOSTILE, HOSTILE * 20, HOSTILE, HOSTILE, HOSTILE)
    engine.explanations[HOSTILE] = report(model, ARCHITECTURE, bad, bad)
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ExplainScreen(HOSTILE))
        for key in ("G", "pageup", "k", "j", "g"):
            await pilot.press(key)
            await settle(pilot)
            assert_harmless(plain(app))
        await pilot.resize_terminal(60, 16)
        await settle(pilot)
        assert_harmless(plain(app))
