"""The command table keeps its promises: key, help and palette entry each, no key twice."""

import importlib
import pkgutil

import pytest
from textual.binding import Binding

import console
from console.actions import ACTIONS
from console.app import LmxApp
from console.commands import (
    ASKING,
    BY_ID,
    CHAT,
    COMMANDS,
    DASHBOARD,
    Danger,
    Selection,
    commands_on,
)
from console.screens.chat import ChatScreen
from console.screens.dashboard import DashboardScreen
from console.widgets.footer import footer_line
from engine import Code, EngineSnapshot, ModelView
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, snapshot_of

SCREENS = sorted({where for command in COMMANDS for where in command.where})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.id)
def test_every_command_is_complete(command: object) -> None:
    from console.commands import Command

    assert isinstance(command, Command)
    assert command.key
    assert command.title
    assert command.help
    assert command.where
    owners = (DashboardScreen, ChatScreen, LmxApp)
    assert command.id in ACTIONS or any(hasattr(o, f"command_{command.id}") for o in owners)


@pytest.mark.parametrize("where", SCREENS)
def test_no_key_does_two_things_on_one_screen(where: str) -> None:
    keys = [key for command in commands_on(where) for key in command.keys]
    assert len(keys) == len(set(keys))


def test_every_action_is_in_the_table() -> None:
    assert set(ACTIONS) <= set(BY_ID)


def test_the_palette_offers_every_command_of_the_dashboard() -> None:
    app = LmxApp(engine=ScriptedEngine())
    screen = DashboardScreen()
    titles = {entry.title for entry in app.get_system_commands(screen)}
    wanted = {c.title for c in commands_on(DASHBOARD) if c.group != "Move" and c.id != "palette"}
    assert titles == wanted


def _enabled(model: ModelView, snapshot: EngineSnapshot | None = None) -> set[str]:
    selection = Selection(model, snapshot or snapshot_of(model))
    return {c.id for c in commands_on(DASHBOARD) if c.group == "Model" and not c.refusal(selection)}


def test_each_state_offers_what_fits_it() -> None:
    always = {"explain", "details"}
    assert _enabled(gallery.model("m")) == always | {"load", "override", "hold"}
    assert _enabled(gallery.refused()) == always | {"load", "hold"}
    backend = gallery.refusal(Code.MODEL_UNSUPPORTED_BACKEND, overridable=True)
    assert "override" in _enabled(gallery.refused(refusal=backend))
    assert _enabled(gallery.loading()) == always | {"unload", "hold"}
    assert _enabled(gallery.routable()) == always | {"unload", "hold", "chat", "canary"}
    assert _enabled(gallery.quarantined()) == always | {"release"}


def test_no_selection_gives_reasons_rather_than_silence() -> None:
    selection = Selection(None, snapshot_of())
    for name in ("load", "unload", "chat", "release", "explain", "details"):
        assert BY_ID[name].refusal(selection) == "no model is selected"


def test_readonly_refuses_whatever_changes_anything_and_still_lets_go() -> None:
    selection = Selection(gallery.routable(), snapshot_of(), readonly=True)
    for command in COMMANDS:
        refused = command.refusal(selection) == "this console is read-only"
        assert refused == (command.danger is not Danger.NONE and command.id != "quit")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_footer_fits_and_always_shows_help_and_quit(width: int) -> None:
    for model in gallery.working().models:
        line = footer_line(Selection(model, gallery.working()), width)
        text = "".join(cell.text for cell in line)
        assert len(text.rstrip()) <= width
        assert "? help" in text
        assert "q quit" in text


def test_the_chat_tells_only_keys_that_are_not_typing() -> None:
    keys = {command.id: command.key_on(CHAT) for command in commands_on(CHAT)}
    assert keys["help"] == "f1"
    assert keys["palette"] == "ctrl+p"
    assert keys["copy_answer"] == "f6"
    assert keys["quit"] == keys["explain"] == ""


def test_before_the_engine_has_started_commands_say_so() -> None:
    for model in (gallery.model("m"), None):
        selection = Selection(model, snapshot_of(started=False))
        for name in (
            "load",
            "override",
            "unload",
            "hold",
            "release",
            "canary",
            "explain",
            "rescan",
        ):
            assert BY_ID[name].refusal(selection) == "the engine has not started"
        for name in ("quit", "help", "log"):
            assert BY_ID[name].refusal(selection) is None


def test_a_quarantined_model_is_refused_with_its_code() -> None:
    selection = Selection(gallery.quarantined(), snapshot_of())
    for name in ("load", "chat", "canary"):
        assert (BY_ID[name].refusal(selection) or "").startswith("model_unstable: ")


def test_what_asks_is_in_the_table() -> None:
    assert set(ASKING) <= set(ACTIONS)


def _bound() -> list[tuple[str, Binding]]:
    """Every binding the console's own classes declare, and where."""
    found = []
    for info in pkgutil.walk_packages(console.__path__, "console."):
        if info.name == "console.__main__":
            continue
        module = importlib.import_module(info.name)
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == info.name:
                for binding in vars(kind).get("BINDINGS", ()):
                    assert isinstance(binding, Binding), f"{kind.__name__}: {binding}"
                    found.append((kind.__name__, binding))
    return found


def test_every_binding_has_an_id_to_remap_it_by() -> None:
    bound = _bound()
    assert len(bound) > 50
    assert not [f"{where}: {binding.key}" for where, binding in bound if not binding.id]


def test_an_id_means_one_action() -> None:
    actions: dict[str, set[str]] = {}
    for _, binding in _bound():
        actions.setdefault(str(binding.id), set()).add(binding.action)
    assert not {name: found for name, found in actions.items() if len(found) > 1}
