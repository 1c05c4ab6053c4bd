"""What a terminal smaller than 60x16 shows: its size and the size needed."""

from textual import events
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

MIN_WIDTH, MIN_HEIGHT = 60, 16


def is_small(size: Size) -> bool:
    """True if the screens do not fit."""
    return size.width < MIN_WIDTH or size.height < MIN_HEIGHT


class SmallScreen(ModalScreen[None]):
    """A plain notice that goes away by itself once there is room."""

    DEFAULT_CSS = """
    SmallScreen { align: center middle; background: $background; }
    SmallScreen > Static { width: auto; height: auto; text-align: center; }
    """
    where = "small"

    def compose(self) -> ComposeResult:
        """The sentence."""
        yield Static(self._sentence(self.app.size), markup=False)

    @staticmethod
    def _sentence(size: Size) -> str:
        return f"needs {MIN_WIDTH}x{MIN_HEIGHT}, this is {size.width}x{size.height}"

    def on_resize(self, event: events.Resize) -> None:
        """Follow the size; leave when it fits."""
        self._follow(event.size)

    def on_screen_resume(self) -> None:
        """Something above closed: the size may have changed meanwhile."""
        self._follow(self.app.size)

    def _follow(self, size: Size) -> None:
        if is_small(size):
            self.query_one(Static).update(self._sentence(size))
        elif self.is_current:
            self.dismiss()
