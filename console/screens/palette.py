"""The command palette, with no glyph of two columns: terminals disagree about their width."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from textual.app import SystemCommand
from textual.command import CommandPalette, SearchIcon
from textual.screen import Screen

from console.commands import DASHBOARD, table_of

if TYPE_CHECKING:
    from console.app import LmxApp


class Palette(CommandPalette):
    """Textual's palette under our own sign."""

    def on_mount(self) -> None:
        """``>`` is one column wide in every font."""
        self.query_one(SearchIcon).icon = ">"


def entries(app: "LmxApp", screen: Screen[Any]) -> Iterable[SystemCommand]:
    """Every command of a screen, with its key."""
    where = getattr(screen, "where", DASHBOARD)
    for command in table_of(app.selection(screen)):
        if command.group != "Move" and command.id != "palette":
            key = command.key_on(where)
            about = f"{command.help} ({key})" if key else command.help
            yield SystemCommand(command.title, about, lambda c=command.id: app.action_command(c))
