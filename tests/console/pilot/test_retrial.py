"""After an upgrade: the offer to prove models again names them, and the same key stops it."""

from collections.abc import Callable
from typing import Any

from console.app import LmxApp
from console.modals.confirm import ConfirmDialog
from engine import Code
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, snapshot_of
from tests.console.stage import SIZE, plain, settle, until

Build = Callable[..., LmxApp]


def engine(**fields: Any) -> ScriptedEngine:
    models = [gallery.model(name) for name in ("one", "two")]
    models.append(gallery.model("unclean", unclean=True))
    return ScriptedEngine(snapshot_of(*models, **fields))


async def press(app: LmxApp, pilot: Any, key: str) -> None:
    """Press it and wait for the dialog."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
    await settle(pilot)


async def test_the_dialog_names_the_models_and_leaves_the_unclean_one_out(console: Build) -> None:
    scripted = engine(outdated=("one", "two", "unclean"))
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "A prove again" in plain(app)
        await press(app, pilot, "A")
        text = " ".join(plain(app).split())
        assert "Prove 2 models again?" in text
        assert "another backend version: one, two." in text
        assert "the machine went down with them: unclean." in text
        app.screen.dismiss(False)
        await settle(pilot)
        assert scripted.asked("prove_outdated") == []
        await press(app, pilot, "A")
        app.screen.dismiss(True)
        await settle(pilot)
    (call,) = scripted.asked("prove_outdated")
    assert call.arguments == {"models": ("one", "two"), "actor": "ops@local"}


async def test_the_same_key_stops_it(console: Build) -> None:
    scripted = engine(outdated=("one", "two"), proving=("two",))
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(app, pilot, "A")
        assert "two is under trial" in plain(app)
        app.screen.dismiss(True)
        await settle(pilot)
    assert scripted.asked("stop_proving")
    assert not scripted.asked("prove_outdated")


async def test_without_an_upgrade_or_rights_there_is_no_offer(console: Build) -> None:
    for scripted, options, words in (
        (engine(), {}, "nothing to prove again"),
        (engine(outdated=("one",)), {"readonly": True}, "read-only"),
        (engine(outdated=("unclean",)), {}, "the machine went down with them: unclean"),
    ):
        app = console(scripted, **options)
        async with app.run_test(size=SIZE) as pilot:
            await settle(pilot)
            await pilot.press("A")
            await settle(pilot)
            assert words in " ".join(plain(app).split())
            assert not isinstance(app.screen, ConfirmDialog)
        assert not scripted.asked("prove_outdated")


async def test_a_refusal_is_told(console: Build) -> None:
    scripted = engine(outdated=("one",))
    scripted.refusals["prove_outdated"] = gallery.refusal(Code.CONFLICT)
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(app, pilot, "A")
        app.screen.dismiss(True)
        await until(pilot, lambda: "conflict" in plain(app))
