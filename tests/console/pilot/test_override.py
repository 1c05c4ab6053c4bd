"""The override dialog: every blocker is listed, and only the right name arms the button."""

from collections.abc import Callable
from typing import Any

from textual.widgets import Button, Input

from console.app import LmxApp
from console.modals.override import OverrideDialog, last_part
from console.status import Glyphs
from engine import Check, LoadOptions, Readiness
from tests.console import gallery
from tests.console.scripted import Clock, ScriptedEngine, snapshot_of
from tests.console.stage import (
    ARCHITECTURE,
    HOSTILE,
    INCOMPLETE,
    MEMORY,
    SIGNATURE,
    SIZE,
    assert_harmless,
    open_screen,
    plain,
    report,
    settle,
)

Build = Callable[..., LmxApp]
MODEL = gallery.model("zai-org/GLM-5-2.5bit", 204, "mlx")


def dialog(*blockers: Check, clock: Clock | None = None) -> OverrideDialog:
    deaf: dict[str, Any] = {"deaf_s": 0.0} if clock is None else {"clock": clock}
    return OverrideDialog(MODEL, report(MODEL, *blockers), **deaf)


def armed(app: LmxApp) -> bool:
    return not app.screen.query_one("#confirm", Button).disabled


async def type_name(pilot: object, app: LmxApp, name: str) -> None:
    app.screen.query_one("#name", Input).focus()
    app.screen.query_one("#name", Input).value = name
    await settle(pilot)  # type: ignore[arg-type]


async def test_the_right_name_arms_and_enter_loads_with_the_override(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(ARCHITECTURE, SIGNATURE))
        text = plain(app)
        for word in ("architecture", "signature", "glm_moe_dsa on mlx-lm <0.33", "would skip"):
            assert word in text
        await pilot.press("enter")
        assert not armed(app)
        await pilot.press(*"GLM-5-2.5bi")
        await pilot.press("enter")
        assert answers == []
        await pilot.press("t", "enter")
        assert answers == [LoadOptions(allow_unsupported_runtime=True)]


async def test_what_no_override_skips_keeps_it_locked(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(INCOMPLETE, ARCHITECTURE, MEMORY))
        text = plain(app)
        assert "would not help" in text
        assert "No override skips:" in text
        assert "31 shards" in text
        assert "download the model again" in text
        assert not app.screen.query("#name, #confirm")
        await pilot.press("enter")
        assert answers == [None]


async def test_memory_wants_a_stated_reservation(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(ARCHITECTURE, MEMORY))
        await type_name(pilot, app, "GLM-5-2.5bit")
        assert not armed(app)
        app.screen.query_one("#reserve", Input).value = "150"
        await settle(pilot)
        assert armed(app)
        await pilot.press("enter")
        assert answers == [LoadOptions(allow_unsupported_runtime=True, reserve_gb=150.0)]


async def test_memory_alone_needs_no_override(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(MEMORY))
        assert "Only memory blocks" in plain(app)
        app.screen.query_one("#reserve", Input).value = "150"
        await type_name(pilot, app, "GLM-5-2.5bit")
        await pilot.press("enter")
        assert answers == [LoadOptions(reserve_gb=150.0)]


async def test_nothing_to_override(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog())
        assert "Nothing blocks this model" in plain(app)
        assert not app.screen.query("#confirm")
        await pilot.resize_terminal(60, 16)
        await settle(pilot)
        assert app.screen.query_one("#box").size.height <= 6
        await pilot.press("enter")
        assert answers == [None]


async def test_the_reason_of_a_signature_is_shown(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, dialog(SIGNATURE))
        assert SIGNATURE.message in plain(app)


async def test_a_wrong_name_and_enter_say_so(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(ARCHITECTURE))
        await type_name(pilot, app, "GLM-5")
        await pilot.press("enter")
        await settle(pilot)
        assert answers == []
        assert "that is not its name: type GLM-5-2.5bit" in plain(app)
        await pilot.press("x")
        await settle(pilot)
        assert "that is not its name" not in plain(app)


async def test_typed_ahead_and_a_moved_model_do_not_load(console: Build) -> None:
    clock, engine = Clock(), ScriptedEngine(snapshot_of(MODEL))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(ARCHITECTURE, clock=clock))
        await type_name(pilot, app, "GLM-5-2.5bit")
        await pilot.press("enter")
        assert answers == []
        clock.advance(1)
        engine.change(MODEL.id, readiness=Readiness.LOADING)
        await settle(pilot)
        assert "changed meanwhile: now loading" in plain(app)
        await pilot.press("enter")
        assert answers == []


async def test_a_hostile_name_is_typed_as_displayed(console: Build) -> None:
    model = gallery.model(HOSTILE, 20)
    bad = Check("architecture", ARCHITECTURE.result, HOSTILE, HOSTILE, "model_unsupported_arch",
                HOSTILE, HOSTILE, overridable=True)  # fmt: skip
    app = console(ScriptedEngine(snapshot_of(model)))
    async with app.run_test(size=SIZE) as pilot:
        box = OverrideDialog(model, report(model, bad), deaf_s=0.0)
        answers = await open_screen(app, pilot, box)
        assert_harmless(plain(app))
        shown = last_part(HOSTILE, Glyphs())
        assert_harmless(shown)
        await type_name(pilot, app, shown)
        await pilot.press("enter")
        assert answers == [LoadOptions(allow_unsupported_runtime=True)]


def test_the_part_to_type_is_never_empty() -> None:
    assert last_part("org/name", Glyphs()) == "name"
    assert last_part("name", Glyphs()) == "name"
    for empty in ("", " ", "/", "org/", "org/ "):
        assert last_part(empty, Glyphs())
