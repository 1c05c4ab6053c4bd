"""What every dialog shares: a box in the middle, an answer, a deaf moment for keys typed ahead,
and a watch on the model it is about.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.css.scalar import Scalar
from textual.screen import ModalScreen

from console.line import Cell, Line, tidy
from console.paragraph import paragraph
from console.status import Glyphs
from console.widgets.lines import LinePanel
from engine import EngineSnapshot, ModelView

if TYPE_CHECKING:
    from console.app import LmxApp

Answer = TypeVar("Answer")

TYPE_AHEAD_S = 0.2
"""Keys that arrive so soon were typed before the dialog could be read."""


TOO_SOON = "a key came too soon: press again"


class Body(LinePanel, can_focus=False):
    """The lines of a dialog, as high as they are and no higher than its room."""

    def fit(self, lines: Sequence[Line], most: int) -> None:
        """Show the lines in as many rows as they need, ``most`` at most."""
        height = max(min(len(lines), most), 1)
        if self.styles.height != Scalar.from_number(height):  # 1fr has the value 1, too
            self.styles.height = height
        self.show(lines)


class Dialog(ModalScreen[Answer]):
    """A dialog with a title.

    Args:
        heading: Its title, of any origin; shown as plain text.
        model: The model it is about as it stood at the key press; the dialog watches it.
        deaf_s: How long keys count as typed ahead and do nothing; esc always works.
        clock: Seconds that never go back; where that time is read.
    """

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#cancel"
    WIDTH: ClassVar[int] = 72
    TAKES_AHEAD: ClassVar[bool] = False
    """Whether keys typed before it was there are given to it; else they are dropped."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="dialog.cancel", show=False),
        Binding("pageup", "scroll(-8)", "page up", id="dialog.page_up", show=False),
        Binding("pagedown", "scroll(8)", "page down", id="dialog.page_down", show=False),
    ]

    @property
    def lmx(self) -> "LmxApp":
        """The app, by its own type."""
        return cast("LmxApp", self.app)

    def __init__(
        self,
        heading: str,
        *,
        model: ModelView | None = None,
        deaf_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.heading = heading
        self.model = model
        self.changed = ""
        """What the model turned into while the dialog was open, or empty."""
        self._clock = clock
        self._deaf_s = TYPE_AHEAD_S if deaf_s is None else deaf_s
        self._opened_at: float | None = None
        self._too_soon = False

    @property
    def glyphs(self) -> Glyphs:
        """The character set of this terminal."""
        return self.lmx.glyphs

    @property
    def inner(self) -> int:
        """Columns inside the box."""
        return max(min(self.WIDTH, self.app.size.width - 4) - 4, 20)

    @property
    def tallest(self) -> int:
        """Rows the box may take: the terminal's, less those a style sheet keeps free above it."""
        return self.app.size.height - self.query_one("#box").styles.margin.height

    def box(self) -> Vertical:
        """The frame; a subclass composes into it."""
        frame = Vertical(id="box")
        frame.border_title = Content(tidy(self.heading, ascii_only=self.glyphs.ascii_only))
        frame.styles.width = self.inner + 4
        return frame

    def on_mount(self) -> None:
        """Start the deaf moment and the watch."""
        self._opened_at = self._clock()
        # A screen that is only being mounted loses what it is sent.
        self.call_after_refresh(self._let_keys_in)
        if self.model is not None:
            self.watch(self.app, "snapshot", self._look, init=True)

    def on_key(self, event: events.Key) -> None:
        """Swallow what was typed before the dialog could be seen."""
        if event.key != "escape" and not self.settled:
            event.stop()
            event.prevent_default()
            self.swallowed()
        elif self._too_soon:
            self._too_soon = False
            self.mark("")

    def _let_keys_in(self) -> None:
        drop = not self.TAKES_AHEAD
        if self.lmx.gate.open(drop=drop) and drop:
            self.swallowed()

    def swallowed(self) -> None:
        """A key came too soon to be meant: say that it did nothing."""
        self._too_soon = True
        self.mark(TOO_SOON)

    def mark(self, text: str) -> None:
        """Set the lower edge of the box; that a key was lost is said before anything else."""
        shown = TOO_SOON if self._too_soon else text
        self.query_one("#box").border_subtitle = Content(shown) if shown else None

    def on_resize(self) -> None:
        """Fit the box and its lines to the new size."""
        self.query_one("#box").styles.width = self.inner + 4
        self.redraw()

    @property
    def settled(self) -> bool:
        """True once a key can be meant for this dialog."""
        return self._opened_at is not None and self._clock() - self._opened_at >= self._deaf_s

    def redraw(self) -> None:
        """Show the dialog's lines again."""

    def _look(self, snapshot: EngineSnapshot) -> None:
        if self.model is None:
            return
        now = snapshot.model(self.model.id)
        if now is None:
            word = "gone from the catalog"
        elif now.version != self.model.version:
            word = f"now {now.readiness}" + (", draining" if now.draining else "")
        else:
            word = ""
        if word != self.changed:
            self.changed = word
            self.redraw()
        self.looked(now)

    def looked(self, model: ModelView | None) -> None:
        """Called with the model's newest view."""

    def changed_lines(self) -> list[Line]:
        """The warning that the model moved while the dialog was open."""
        if not self.changed:
            return []
        text = f"changed meanwhile: {self.changed}; go back and decide again"
        return [(), *paragraph(text, self.inner, "bad")]

    def action_scroll(self, by: int) -> None:
        """Move through lines that are more than the box holds."""
        self.query_one("#body", Body).scroll_relative(y=by, animate=False)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


def name_line(model: ModelView, glyphs: Glyphs) -> Line:
    """The model's name as displayed, with its badges."""
    cells = [Cell(" "), Cell(tidy(model.id, ascii_only=glyphs.ascii_only), "name")]
    if model.simulated:
        cells += [Cell("  "), Cell("sim", "sim")]
    return tuple(cells)
