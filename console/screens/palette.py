"""The command palette, with no glyph of two columns: terminals disagree about their width."""

from textual.command import CommandPalette, SearchIcon


class Palette(CommandPalette):
    """Textual's palette under our own sign."""

    def on_mount(self) -> None:
        """``>`` is one column wide in every font."""
        self.query_one(SearchIcon).icon = ">"
