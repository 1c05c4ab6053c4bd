"""What the screens beside the dashboard share: header, one sheet of lines, keys at the foot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from console.commands import offered
from console.line import Cell, Line, cut, tidy, width_of
from console.masthead import header_line
from console.news import answer_on
from console.status import Glyphs
from console.widgets.event_line import EventLine
from console.widgets.footer import FooterLine
from console.widgets.header import HeaderLine
from console.widgets.lines import LinePanel

if TYPE_CHECKING:
    from console.app import LmxApp


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a page shows: its title, its lines, and the heading that stays above them."""

    title: str
    lines: Sequence[Line]
    subtitle: str = ""
    heading: Line | None = None
    cursor: int | None = None


class Sheet(LinePanel, inherit_bindings=False):
    """The lines of a page; the page's own keys move it."""


MOVES: list[BindingType] = [
    Binding("up,k", "move('up')", "up", id="page.up", show=False),
    Binding("down,j", "move('down')", "down", id="page.down", show=False),
    Binding("pageup", "move('page_up')", "page up", id="page.page_up", show=False),
    Binding("pagedown", "move('page_down')", "page down", id="page.page_down", show=False),
    Binding("home,g", "move('first')", "first", id="page.first", show=False),
    Binding("end,G", "move('last')", "last", id="page.last", show=False),
]
"""Moving on every page."""


class Page(Screen[None]):
    """A screen of lines that follows the app's snapshot and its clock.

    A subclass says what it shows in :meth:`draw` and which keys of its own it has in ``KEYS``.
    """

    CSS_PATH = "page.tcss"
    AUTO_FOCUS = "#sheet"
    BINDINGS: ClassVar[list[BindingType]] = MOVES
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Key and title of the page's own keys, for the foot."""
    where: ClassVar[str] = ""
    target_id: str | None = None
    """The model a command on this page acts on."""

    @property
    def lmx(self) -> "LmxApp":
        """The app, by its own type."""
        return cast("LmxApp", self.app)

    def compose(self) -> ComposeResult:
        """Header, sheet, foot."""
        yield HeaderLine(id="header")
        yield Sheet(id="sheet", classes="panel")
        yield FooterLine(id="footer")

    def on_mount(self) -> None:
        """Follow the snapshot; ages and countdowns once a second."""
        self.mount(EventLine(id="answer"), before="#footer")
        self.watch(self.app, "snapshot", self.redraw, init=False)
        self.watch(self.app, "news", self._say, init=False)
        self.watch(self.sheet, "scroll_y", self._place, init=False)
        self.set_interval(1.0, self.redraw, name="second")

    @property
    def sheet(self) -> Sheet:
        """The lines."""
        return self.query_one("#sheet", Sheet)

    @property
    def back_word(self) -> str:
        """What esc does now."""
        return "back"

    @property
    def glyphs(self) -> Glyphs:
        """The character set of this terminal."""
        return self.lmx.glyphs

    def draw(self, width: int, now: float) -> Drawing:
        """What to show now, ``width`` columns wide, at Unix time ``now``."""
        raise NotImplementedError

    @on(LinePanel.Resized)
    def redraw(self) -> None:
        """Show the present state; unchanged cells cost nothing."""
        if not self.is_mounted or not self.sheet.size.width:
            return
        app, width = self.lmx, self.size.width
        drawing = self.draw(self.sheet.size.width, app.clock())
        self._drawing = drawing
        self.sheet.show(drawing.lines, heading=drawing.heading, cursor=drawing.cursor)
        self._place()
        pulse, period = app.pulse, app.pump.period_s
        head = header_line(app.snapshot, pulse, width, period, app.glyphs, app.clock())
        self.query_one(HeaderLine).show((head,))
        self.set_class(pulse.stale, "-stale")
        self.query_one(FooterLine).show((self._foot(width),))
        self._say()
        self.drawn()

    def _say(self) -> None:
        """The answer to the operator's last key, on a line that is there no longer than it is."""
        app, glyphs = self.lmx, self.glyphs
        news = answer_on(app.news, self.where, app.clock())
        for line in self.query("#answer").results(EventLine):
            line.set_class(news is not None, "-open")
            if news is not None:
                text = tidy(news.message, ascii_only=glyphs.ascii_only)
                style = {"warn": "warn", "error": "bad"}.get(news.level, "text")
                text = cut(f" {text}", self.size.width - 1, glyphs.ellipsis)
                line.show(((Cell(text, style),),))

    def drawn(self) -> None:
        """Called after each drawing."""

    def _place(self) -> None:
        """Say which part of a longer sheet is in sight."""
        drawing: Drawing | None = getattr(self, "_drawing", None)
        if drawing is None:
            return
        subtitle, sheet = drawing.subtitle, self.sheet
        room = sheet.size.height - (drawing.heading is not None)
        total = len(drawing.lines)
        if total > room > 0:
            top = int(sheet.scroll_offset.y)
            at = f"{top + 1}-{min(top + room, total)} of {total:,}"
            subtitle = f"{subtitle}  {at}" if subtitle else at
        sheet.title(drawing.title, subtitle)

    def _foot(self, width: int) -> Line:
        """The keys that work here, back first and help always."""
        commands = offered(self.lmx.selection(self))
        told = ((c.key_on(self.where), c.title) for c in commands)
        keys = [("esc", self.back_word), *self.KEYS, *(entry for entry in told if entry[0])]
        spare = len(keys) - 1
        cells = _key_cells(keys)
        while width_of(cells) > width and spare > 1:
            if keys[spare][1] != "help":
                del keys[spare]
            spare -= 1
            cells = _key_cells(keys)
        return cells

    def action_move(self, how: str) -> None:
        """Scroll the sheet."""
        self.sheet.move(how)

    def on_screen_resume(self) -> None:
        """Back in front: everything may have changed."""
        self.redraw()

    @property
    def copy_text(self) -> str:
        """The whole sheet as plain text."""
        text = "\n".join("".join(cell.text for cell in line) for line in self.sheet.lines)
        return "\n".join(line.rstrip() for line in text.split("\n"))


def _key_cells(keys: Sequence[tuple[str, str]]) -> Line:
    cells = [Cell(" ")]
    for key, title in keys:
        cells += [Cell(key, "key"), Cell(f" {title}  ", "dim")]
    return tuple(cells)
