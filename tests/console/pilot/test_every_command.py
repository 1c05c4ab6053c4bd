"""Every command of the table on every screen it is offered on: its key does something there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from console.app import LmxApp
from console.commands import (
    CHAT,
    COMMANDS,
    DASHBOARD,
    DETAIL,
    EXPLAIN,
    HELP,
    HOSTS,
    LOG,
    PROMPT,
    REGISTRY,
    REQUESTS,
    Command,
    commands_on,
)
from console.screens.chat import ChatScreen
from console.screens.detail import DetailScreen
from console.screens.explain import ExplainScreen
from console.screens.help import HelpScreen
from console.screens.hosts import HostsScreen
from console.screens.log import LogScreen
from console.screens.prompt import PromptScreen
from console.screens.registry import RegistryScreen
from console.screens.requests import RequestsScreen
from console.screens.small import SmallScreen
from engine import ChatTurn, EngineSnapshot, RegistryRow
from tests.console import fleet, gallery
from tests.console.scripted import T0, Clock, ScriptedEngine, snapshot_of
from tests.console.stage import assert_harmless, plain, settle

Build = Callable[..., LmxApp]
RESTING, SERVING, STRUCK = "a-resting", "b-serving", "c-struck"
NEEDS = {"load": RESTING, "override": RESTING, "release": STRUCK}
"""Which model a command applies to; the others take one that serves."""
SCREENS = (DASHBOARD, DETAIL, REGISTRY, LOG, REQUESTS, HOSTS, EXPLAIN, HELP, CHAT, PROMPT)
SIZES = ((120, 36), (80, 24), (60, 16), (50, 12), (200, 50), (80, 24))


def house() -> EngineSnapshot:
    """A model each to load, to use and to release; everything a command could act on."""
    rows = tuple(
        RegistryRow(T0 - i, name, "mlx", gallery.MLX, "pass", "canary 9/9")
        for i, name in enumerate((SERVING, RESTING, STRUCK))
    )
    return snapshot_of(
        gallery.model(RESTING),
        gallery.routable(SERVING),
        gallery.quarantined(STRUCK),
        *(gallery.model(f"z-{i:02}") for i in range(40)),
        quarantine=(gallery.case(STRUCK),),
        registry=rows,
        registry_total=3,
        events=tuple(gallery.event(f"event {i}", SERVING, i) for i in range(1, 60)),
        requests=(gallery.request(SERVING), gallery.request(SERVING, id="req-2")),
        outdated=(RESTING,),
        hosts=fleet.hosts(),
        home="",
    )


def screen_for(where: str, model_id: str) -> Screen[Any] | None:
    """A new screen of this kind on a model; None is the dashboard, which is always there."""
    makers: dict[str, Callable[[], Screen[Any]]] = {
        DETAIL: lambda: DetailScreen(model_id),
        REGISTRY: RegistryScreen,
        LOG: LogScreen,
        REQUESTS: RequestsScreen,
        HOSTS: HostsScreen,
        EXPLAIN: lambda: ExplainScreen(model_id),
        HELP: HelpScreen,
        CHAT: lambda: ChatScreen(model_id),
        PROMPT: lambda: PromptScreen(model_id, [ChatTurn("user", "x " * 2000)], asked=True),
    }
    return makers[where]() if where in makers else None


async def go(app: LmxApp, pilot: Pilot[None], where: str, model_id: str) -> None:
    """Stand on a screen, with a model chosen."""
    await settle(pilot)
    app.screen.target_id = model_id  # type: ignore[attr-defined]
    screen = screen_for(where, model_id)
    if screen is not None:
        await app.push_screen(screen)
    await settle(pilot)
    if where == REGISTRY:
        chosen = next(row for row in app.snapshot.registry if row.model_id == model_id)
        app.screen.chosen = (  # type: ignore[attr-defined]
            *(chosen.ts, chosen.model_id, chosen.outcome, chosen.reason),
        )
    elif where == DASHBOARD:
        await pilot.press("g", "j", "j", "j")
        app.screen.target_id = model_id  # type: ignore[attr-defined]
        app.screen.redraw()  # type: ignore[attr-defined]
    elif where == LOG:
        await pilot.press("g")
    await settle(pilot)


def state(app: LmxApp, engine: ScriptedEngine) -> tuple[Any, ...]:
    """Everything a command could have changed."""
    screens = tuple(type(screen) for screen in app.screen_stack)
    calls = tuple((call.name, call.model_id) for call in engine.calls if call.name != "explain")
    return screens, calls, plain(app), app.news, app.pump.paused, app.focused, app.departure.begun


CASES = [
    pytest.param(where, command, id=f"{where}-{command.id}")
    for where in SCREENS
    for command in commands_on(where)
    if command.key_on(where)
]


@pytest.mark.parametrize(("where", "command"), CASES)
async def test_its_key_does_something_on_each_of_its_screens(
    console: Build, where: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = ScriptedEngine(house())
    app = console(engine)
    model_id = NEEDS.get(command.id, SERVING)
    async with app.run_test(size=(80, 24)) as pilot:
        await go(app, pilot, where, model_id)
        if where == DASHBOARD and command.id == "panel_models":
            await pilot.press("2")
        elif where == DASHBOARD and command.id == "back":
            await pilot.press("4")
        elif command.id == "first":
            await pilot.press("j")
        await settle(pilot)
        selection = app.selection()
        assert command.refusal(selection) is None
        before = state(app, engine)
        key = next(k for k in command.keys if where != CHAT or len(k) > 1)
        await pilot.press(key)
        await settle(pilot)
        await settle(pilot)
        assert state(app, engine) != before
        assert_harmless(plain(app))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.id)
def test_there_is_a_case_for_every_command(command: Command) -> None:
    assert any(case.values[1] is command for case in CASES)


@pytest.mark.parametrize("where", SCREENS)
async def test_every_screen_fits_every_window_and_comes_back_as_it_was(
    console: Build, where: str
) -> None:
    app = console(ScriptedEngine(house()), clock=Clock())
    async with app.run_test(size=(80, 24)) as pilot:
        # The chosen row stays in sight in a window of one row: the first one scrolls nothing.
        await go(app, pilot, where, RESTING if where == DASHBOARD else SERVING)
        first = plain(app)
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await settle(pilot)
            await settle(pilot)
            text = plain(app)
            assert_harmless(text)
            assert len(text.split("\n")) <= height
            assert all(len(line) <= width for line in text.split("\n"))
            small = width < 60 or height < 16
            assert isinstance(app.screen, SmallScreen) is small
            if not small:
                assert "LMX" in text.split("\n")[0]
        assert plain(app) == first


async def test_a_state_that_changes_under_each_dialog_is_said_and_nothing_is_done(
    console: Build,
) -> None:
    for key, model_id in (("u", SERVING), ("h", SERVING), ("r", STRUCK), ("l", RESTING)):
        engine = ScriptedEngine(house())
        app = console(engine)
        async with app.run_test(size=(80, 24)) as pilot:
            await go(app, pilot, DASHBOARD, model_id)
            await pilot.press(key)
            await settle(pilot)
            assert app.screen.is_modal
            model = engine.snapshot().model(model_id)
            assert model is not None
            changed = replace(model, version=model.version + 1)
            models = tuple(changed if m.id == model_id else m for m in engine.snapshot().models)
            engine.set(models=models)
            await settle(pilot)
            assert "changed meanwhile" in plain(app), key
            await pilot.pause(0.25)  # the dialog is deaf to keys typed ahead for 0.2 s
            await pilot.press("y", "enter")
            await settle(pilot)
            done = {call.name for call in engine.calls} - {"start", "explain"}
            assert not done, key
