"""The help holds every command and every state, and scrolls at 80x24."""

from collections.abc import Callable

from console.app import LmxApp
from console.commands import COMMANDS
from console.screens.help import ELSEWHERE, STATES, HelpScreen, help_lines
from console.status import SIGNS, Glyphs
from tests.console.scripted import ScriptedEngine
from tests.console.stage import SIZE, open_screen, plain, settle

Build = Callable[..., LmxApp]


async def test_from_top_to_bottom_by_keys(console: Build) -> None:
    app = console(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, HelpScreen())
        assert "Model" in plain(app).split("\n")[2]
        await pilot.press("G")
        await settle(pilot)
        assert "OVERRIDE" in plain(app)
        await pilot.press("escape")
        await settle(pilot)
        assert not isinstance(app.screen, HelpScreen)


def test_every_command_and_state_is_there() -> None:
    for width in (58, 78, 118):
        for glyphs in (Glyphs(), Glyphs(ascii_only=True)):
            lines = help_lines(COMMANDS, width, glyphs)
            text = " ".join("".join(cell.text for cell in line) for line in lines)
            words = " ".join(text.split())
            for command in COMMANDS:
                assert command.help in words, command.id
            for _, told in (*STATES, *ELSEWHERE):
                assert told in words
            assert all(sum(len(cell.text) for cell in line) <= width for line in lines)
            assert not glyphs.ascii_only or text.isascii()
    assert {word for word, _ in STATES} == {str(word) for word in SIGNS}
