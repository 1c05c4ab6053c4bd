"""The confirm dialog: nothing dangerous happens by a key that was not meant for it."""

import asyncio
from collections.abc import Callable
from typing import Any

from textual.events import Key
from textual.widgets import Button

from console.app import LmxApp
from console.modals.confirm import ConfirmDialog
from engine import Readiness
from tests.console import gallery
from tests.console.scripted import Clock, ScriptedEngine, snapshot_of
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle, until

Build = Callable[..., LmxApp]
LINES = ("MiniMax-M2.5-4bit is routable.", "2 in flight will drain first:")


def dialog(clock: Clock, **options: Any) -> ConfirmDialog:
    return ConfirmDialog("Unload MiniMax-M2.5-4bit?", LINES, "Unload", clock=clock, **options)


async def test_keys_typed_ahead_decide_nothing(console: Build) -> None:
    clock = Clock()
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(clock))
        for keys in (("y",), ("enter",), ("tab", "enter"), ("n",), ("right", "enter")):
            await pilot.press(*keys)
        assert isinstance(app.screen, ConfirmDialog)
        clock.advance(0.199)
        await pilot.press("y", "tab", "enter")
        assert answers == []
        assert app.focused is not None
        assert app.focused.id == "cancel"
        clock.advance(0.002)
        await pilot.press("y")
        assert answers == [True]


async def test_enter_cancels_because_the_focus_is_there(console: Build) -> None:
    clock = Clock()
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(clock))
        clock.advance(1)
        await pilot.press("enter")
        assert answers == [False]


async def test_tab_then_enter_confirms(console: Build) -> None:
    clock = Clock()
    app = console(ScriptedEngine(gallery.working()))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(clock))
        clock.advance(1)
        await pilot.press("tab", "enter")
        assert answers == [True]


async def test_n_and_escape_cancel_and_escape_is_never_ignored(console: Build) -> None:
    for key, wait in (("n", 1.0), ("escape", 0.0)):
        clock = Clock()
        app = console(ScriptedEngine(gallery.working()))
        async with app.run_test(size=SIZE) as pilot:
            answers = await open_screen(app, pilot, dialog(clock))
            clock.advance(wait)
            await pilot.press(key)
            assert answers == [False]


async def test_a_model_that_moves_meanwhile_is_told_and_cannot_be_confirmed(console: Build) -> None:
    clock, engine = Clock(), ScriptedEngine(gallery.working())
    model = gallery.working().models[0]
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(clock, model=model))
        clock.advance(1)
        assert "meanwhile" not in plain(app)
        engine.change(model.id, readiness=Readiness.QUARANTINED)
        await settle(pilot)
        assert "changed meanwhile: now quarantined" in plain(app)
        assert app.screen.query_one("#confirm", Button).disabled
        await pilot.press("y", "tab", "enter")
        assert True not in answers


async def test_a_model_that_vanishes_is_told(console: Build) -> None:
    clock, engine = Clock(), ScriptedEngine(gallery.working())
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        model = gallery.working().models[0]
        await open_screen(app, pilot, dialog(clock, model=model))
        engine.set(models=())
        await settle(pilot)
        assert "gone from the catalog" in plain(app)


async def test_a_hostile_name_stays_text_and_survives_a_resize(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(gallery.routable(HOSTILE))))
    async with app.run_test(size=SIZE) as pilot:
        box = ConfirmDialog(f"Unload {HOSTILE}?", [HOSTILE, HOSTILE], f"End {HOSTILE[:20]}")
        await open_screen(app, pilot, box)
        text = plain(app)
        assert_harmless(text)
        assert "[/red]" in text
        await pilot.resize_terminal(60, 16)
        await settle(pilot)
        assert "Cancel" in plain(app)


async def test_a_yes_in_one_burst_with_the_command_reaches_nobody_and_leaves_a_sign(
    console: Build,
) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.routable()))
    app = console(engine)
    copied: list[str] = []
    app.copy = copied.append  # type: ignore[method-assign, assignment]
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        for key in "uy":
            app.post_message(Key(key, key))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await settle(pilot)
        assert copied == []
        assert engine.asked("unload") == []
        assert "press again" in plain(app)


async def test_keys_after_a_command_that_asks_nothing_are_not_lost(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.quarantined(), gallery.routable()))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        for key in "rj":
            app.post_message(Key(key, key))
        await until(pilot, lambda: bool(engine.asked("release")))
        await until(pilot, lambda: app.selection().model == gallery.routable())


async def test_an_unload_on_probation_says_where_it_ends(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(gallery.routable(probation=True))))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("u")
        await until(pilot, lambda: "back into quarantine" in plain(app))


async def test_the_answer_to_r_is_there_at_once(console: Build) -> None:
    engine, waiting = ScriptedEngine(snapshot_of(gallery.quarantined())), asyncio.Event()

    async def slow(*args: object, **options: object) -> tuple[str, ...]:
        await waiting.wait()
        return ()

    engine.release = slow  # type: ignore[method-assign]
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("r")
        await until(pilot, lambda: "asking the gate" in plain(app))
        waiting.set()


async def test_a_hold_or_unload_of_one_copy_names_the_hosts_that_keep_theirs(
    console: Build,
) -> None:
    copies = [
        gallery.routable(name, host=host, family="m")
        for name, host in (("m", "here"), ("m@b", "b"))
    ]
    copies.append(gallery.model("m@c", host="c", family="m"))
    alone = gallery.routable("z", host="here", family="z")
    app = console(ScriptedEngine(snapshot_of(*copies, alone)))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        for key in ("h", "u"):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            assert "Only the copy on here." in plain(app)
            assert "Still routable on: b." in plain(app)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, ConfirmDialog))
        await pilot.press("G", "h")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "Only the copy" not in plain(app)
