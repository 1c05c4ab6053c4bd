"""A defect of the console: one sentence for the operator, the traceback in a file."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.css.query import NoMatches

from console.app import LmxApp
from console.breakdown import FILE, record
from console.modals.load import LoadDialog
from engine import Explanation, LoadOptions
from tests.console import gallery
from tests.console.scripted import ScriptedEngine
from tests.console.stage import SIZE, settle

Build = Callable[..., LmxApp]


@pytest.mark.parametrize("leave", ["exit", "shutdown", "pop"])
async def test_a_dialog_that_goes_before_it_has_opened_is_no_failure(
    console: Build, leave: str
) -> None:
    snapshot = gallery.working()
    app = console(ScriptedEngine(snapshot))

    async def explain(_: LoadOptions) -> Explanation:
        raise AssertionError("nobody is there to read it")

    async def load(_: LoadOptions) -> None:
        raise AssertionError("nobody asked for it")

    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        if leave == "exit":
            app.exit()
        app.push_screen(LoadDialog(snapshot.models[0], snapshot, explain, load))
        if leave == "pop":
            app.pop_screen()
            await settle(pilot)
            assert not app.screen.is_modal
    assert not app.return_code


async def fail(app: LmxApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.call_later(app.screen.query_one, "#nowhere")
        await settle(pilot)


async def test_what_nothing_caught_is_a_sentence_and_a_file(
    console: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = console(ScriptedEngine(replace(gallery.working(), home=str(tmp_path))))
    with pytest.raises(NoMatches):
        await fail(app)
    assert app.return_code == 1
    said = capsys.readouterr().err
    assert "the console failed" in said
    assert str(tmp_path / "logs" / FILE) in said.replace("\n", "")
    assert "Traceback" not in said
    kept = tmp_path / "logs" / FILE
    assert "Traceback" in kept.read_text()
    assert "#nowhere" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written_changes_only_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    said = record(ValueError("a\x1b[31mb"), tmp_path / "logs", "1.0")
    assert "ValueError" in said
    assert "\x1b" not in said
    assert FILE not in said
