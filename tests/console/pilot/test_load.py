"""The load dialog: plain Enter loads, values are heard, a refusal is shown and stays."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from textual.events import Key
from textual.widgets import Input

from console.app import LmxApp
from console.modals.fields import FieldError, number_of, seconds_of, tokens_of
from console.modals.load import Explain, Load, LoadDialog
from console.room import room_for
from console.screens.dashboard import DashboardScreen
from engine import (
    Backend,
    Code,
    EngineError,
    Explanation,
    LoadOptions,
    MemoryEstimate,
    MemoryView,
    RuntimeView,
)
from tests.console import gallery
from tests.console.scripted import GB, ScriptedEngine, snapshot_of
from tests.console.stage import (
    ARCHITECTURE,
    HOSTILE,
    SIZE,
    assert_harmless,
    open_screen,
    plain,
    report,
    settle,
    until,
)

Build = Callable[..., LmxApp]
MODEL = gallery.model("Qwen3-8B-Q4_K_M")


def gate(*blockers: object, heard: list[LoadOptions] | None = None) -> Explain:
    async def explain(options: LoadOptions) -> Explanation:
        if heard is not None:
            heard.append(options)
        return report(MODEL, *blockers)  # type: ignore[arg-type]

    return explain


async def take(options: LoadOptions) -> None:
    """An engine that takes every load."""


def dialog(explain: Explain, load: Load = take, **changes: object) -> LoadDialog:
    model = replace(MODEL, **changes)  # type: ignore[arg-type]
    snapshot = snapshot_of(
        model,
        runtimes=(
            RuntimeView("installed", Backend.GGUF, "llama.cpp 0.3.36"),
            RuntimeView("next", Backend.GGUF, "llama.cpp 0.4.0"),
            RuntimeView("broken", Backend.GGUF, "", error="no such file"),
            RuntimeView("installed", Backend.MLX, "mlx-lm 0.32.2"),
        ),
    )
    return LoadDialog(model, snapshot, explain, load, debounce_s=0.0)


async def test_plain_enter_loads_with_the_settings(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(gate()))
        text = plain(app)
        assert "admitted" in text
        assert "needs 5.0 GB" in text
        await pilot.press("enter")
        assert answers == [LoadOptions()]


async def test_enter_before_the_gate_answered_asks_the_engine_at_once(console: Build) -> None:
    asked, taken = asyncio.Event(), asyncio.Event()

    async def slow(options: LoadOptions) -> Explanation:
        await asked.wait()
        return report(MODEL)

    async def load(options: LoadOptions) -> None:
        await taken.wait()

    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(slow, load))
        assert "asking the gate" in plain(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "loading: asking the gate" in plain(app)
        assert answers == []
        taken.set()
        await until(pilot, lambda: bool(answers))
        assert answers == [LoadOptions()]


async def test_values_reach_the_gate_and_the_load(console: Build) -> None:
    heard: list[LoadOptions] = []
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(gate(heard=heard)))
        app.screen.query_one("#runtime").focus()
        await pilot.press("right", "tab", *"8k", "tab", *"30m", "tab", *"12", "full_stop", "5")
        wanted = LoadOptions(runtime="next", context=8192, keep_alive_s=1800.0, reserve_gb=12.5)
        await until(pilot, lambda: heard[-1] == wanted)
        await pilot.press("enter")
        assert answers == [wanted]


async def test_a_broken_runtime_or_another_backend_is_not_offered(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        box = dialog(gate())
        await open_screen(app, pilot, box)
        assert box.runtimes == ("installed", "next")


async def test_enter_on_a_refused_dialog_asks_the_engine_and_shows_its_answer(
    console: Build,
) -> None:
    engine = ScriptedEngine(snapshot_of(MODEL))
    engine.explanations[MODEL.id] = report(MODEL, ARCHITECTURE)
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("l")
        await until(pilot, lambda: "refused: model_unsupported_arch" in plain(app))
        assert "upgrade mlx-lm" in plain(app)
        fresh = gallery.refusal(Code.INSUFFICIENT_MEMORY, message="9 GB needed, 1 GB free")
        engine.refusals["load"] = fresh
        await pilot.press("enter")
        await until(pilot, lambda: "not loaded, refused: insufficient_memory" in plain(app))
        (call,) = engine.asked("load")
        assert call.arguments["expect"] == MODEL.version
        assert "9 GB needed" in plain(app)
        engine.refusals.clear()
        await until(pilot, lambda: not app.screen.query("Button.-active"))
        await pilot.press("enter")
        await until(pilot, lambda: not app.screen.is_modal)
        assert len(engine.asked("load")) == 2


async def test_escape_does_not_break_a_load_off_and_its_refusal_is_told(console: Build) -> None:
    taken = asyncio.Event()

    async def load(options: LoadOptions) -> None:
        await taken.wait()
        raise EngineError(gallery.refusal(message="too late"))

    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, dialog(gate(), load))
        await pilot.press("enter", "escape")
        await settle(pilot)
        assert not app.screen.is_modal
        taken.set()
        await until(pilot, lambda: "model_incomplete: too late" in plain(app))


async def test_enter_typed_with_the_l_reaches_the_dialog(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(MODEL))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        for key in (Key("l", "l"), Key("enter", "\r")):
            app.post_message(key)
        await until(pilot, lambda: len(engine.asked("load")) == 1)
        await until(pilot, lambda: not app.screen.is_modal)
        assert isinstance(app.screen, DashboardScreen)


async def test_a_value_that_cannot_be_is_told_and_not_loaded(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(gate()))
        app.screen.query_one("#context", Input).focus()
        await pilot.press(*"lots")
        await until(pilot, lambda: "context takes" in plain(app))
        await pilot.press("enter")
        assert answers == []


async def test_a_gate_that_breaks_leaves_the_decision_to_the_engine(console: Build) -> None:
    async def broken(options: LoadOptions) -> Explanation:
        raise RuntimeError("\x1b[31mboom")

    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        answers = await open_screen(app, pilot, dialog(broken))
        assert "the gate did not answer" in plain(app)
        await pilot.press("enter")
        await until(pilot, lambda: bool(answers))
        assert answers == [LoadOptions()]


async def test_a_hostile_model_stays_text(console: Build) -> None:
    app = console(ScriptedEngine(snapshot_of(MODEL)))
    async with app.run_test(size=SIZE) as pilot:
        box = dialog(gate(), id=HOSTILE, backend_version=HOSTILE, quantisation="Q\x1b[0m")
        await open_screen(app, pilot, box)
        assert_harmless(plain(app))


def test_room_names_one_idle_model_that_is_enough() -> None:
    idle = gallery.routable("idle", 40, requests=0)
    large = gallery.routable("large", 90, requests=0)
    busy = gallery.routable("busy", 300)
    memory = MemoryView(500 * GB, 430 * GB, 0, 500 * GB)
    room = room_for(MODEL, MemoryEstimate(100 * GB, 0, 0, 4096), memory, (idle, large, busy))
    assert [m.id for m in room.goers] == ["idle"]
    assert room.enough
    assert not room.fits
    more = room_for(MODEL, MemoryEstimate(190 * GB, 0, 0, 4096), memory, (idle, large, busy))
    assert [m.id for m in more.goers] == ["large", "idle"]
    never = room_for(MODEL, MemoryEstimate(400 * GB, 0, 0, 4096), memory, (idle, large, busy))
    assert not never.enough


def test_fields() -> None:
    assert tokens_of("") is None
    assert tokens_of("8,192") == tokens_of("8k") == 8192
    assert seconds_of("never") is None
    assert seconds_of("90s") == 90
    assert seconds_of("30") == 1800
    assert seconds_of("2h") == 7200
    assert number_of("1,5", "x") == 1.5
    for text in ("-1", "0", "many", "1e400", "nan", "٣"):
        with pytest.raises(FieldError):
            tokens_of(text)
    for text in ("0", "inf", "nan", "-3", "x"):
        with pytest.raises(FieldError):
            number_of(text, "x")
    with pytest.raises(FieldError):
        seconds_of("soon")
