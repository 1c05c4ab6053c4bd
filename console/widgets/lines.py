"""A panel that shows a tuple of lines and repaints only the cells that changed.

A stock table repaints itself whole for one cell (5.9 kB on the wire at 80x24); this writes the
changed span of the changed line.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.line import DrawnLines, Line

STYLES = frozenset(
    {
        *("text", "name", "dim", "idle", "head", "brand"),
        *("ok", "busy", "proof", "warn", "bad", "refused"),
        *("badge", "sim", "alarm", "key"),
    }
)
"""The style names a presenter may use; each is a component class in ``app.tcss``."""


class LinePanel(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines under an optional heading that stays put, with an optional cursor line.

    It has no bindings of its own: the screen's command table moves it.
    """

    class Resized(Message):
        """The panel has another width or height: its lines must be drawn for it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{name}" for name in STYLES} | {"line--cursor"}
    DEFAULT_CSS = """
    LinePanel { overflow-x: hidden; overflow-y: auto; scrollbar-size: 0 0; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._lines: Sequence[Line] = ()
        self._heading: Line | None = None
        self._cursor: int | None = None
        self._subtitle, self._placed = "", False
        self._shown_title = ""
        self._shown_subtitle = ""

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown now; some of it may not be drawn before it is looked at."""
        return self._lines

    def title(self, text: str, subtitle: str = "", *, placed: bool = False) -> None:
        """Set the border's titles, as plain text, if they changed.

        Args:
            placed: Say behind the subtitle which lines are in sight, while not all of them are.
                Call it after :meth:`show`.
        """
        if text != self._shown_title:
            self._shown_title = text
            self.border_title = Content(text)
        self._subtitle, self._placed = subtitle, placed
        self.place()

    def place(self) -> None:
        """Bring the subtitle up to date with what is in sight."""
        parts, room = [self._subtitle], self.size.height - self._top
        if self._placed and len(self._lines) > room > 0:
            top = int(self.scroll_offset.y)
            last = min(top + room, len(self._lines))
            parts.append(f"{top + 1}-{last} of {len(self._lines):,}")
        text = "  ".join(part for part in parts if part)
        if text != self._shown_subtitle:
            self._shown_subtitle = text
            self.border_subtitle = Content(text) if text else None

    def show(
        self, lines: Sequence[Line], *, heading: Line | None = None, cursor: int | None = None
    ) -> None:
        """Show these lines; only what is in sight and differs from the last ones is repainted.

        The lines must not change afterwards.
        """
        old, new = self._lines, lines if isinstance(lines, DrawnLines) else tuple(lines)
        old_cursor = self._cursor
        self._lines, self._cursor = new, cursor
        if heading != self._heading:
            self._heading = heading
            self.refresh()
        if len(old) != len(new):
            self.virtual_size = Size(self.size.width, len(new) + self._top)
        top, most = int(self.scroll_offset.y), max(len(old), len(new))
        for index in range(top, min(top + self.size.height, most)):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            if before is not after and before != after:
                self._refresh_span(index, *_changed_span(before, after))
        if cursor != old_cursor:
            for row in (old_cursor, cursor):
                if row is not None:
                    self._refresh_span(row, 0, self.size.width)
            self.reveal_cursor()

    def reveal_cursor(self) -> None:
        """Scroll just so far that the cursor line is in sight."""
        if self._cursor is None or not self.size.height:
            return
        visible = max(self.size.height - self._top, 1)
        top = int(self.scroll_offset.y)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + visible:
            self.scroll_to(y=self._cursor - visible + 1, animate=False)

    @property
    def _top(self) -> int:
        return 0 if self._heading is None else 1

    def _refresh_span(self, index: int, start: int, end: int) -> None:
        y = index - int(self.scroll_offset.y) + self._top
        if self._top <= y < self.size.height and end > start:
            self.refresh(Region(start, y, end - start, 1))

    def on_resize(self) -> None:
        """Keep the scroll range and the cursor right for the new height."""
        self.virtual_size = Size(self.size.width, len(self._lines) + self._top)
        self.reveal_cursor()
        self.post_message(self.Resized())

    def move(self, how: str) -> None:
        """Scroll: ``up``, ``down``, ``page_up``, ``page_down``, ``first`` or ``last``."""
        page = max(self.size.height - self._top - 1, 1)
        now = int(self.scroll_offset.y)
        target = {
            "up": now - 1,
            "down": now + 1,
            "page_up": now - page,
            "page_down": now + page,
            "first": 0,
            "last": len(self._lines),
        }[how]
        self.scroll_to(y=max(target, 0), animate=False)

    def notify_style_update(self) -> None:
        """Theme changed: every line looks different."""
        super().notify_style_update()
        self.refresh()

    def _style(self, name: str) -> Style:
        if name not in STYLES:
            return Style.null()
        return self.get_component_rich_style(f"line--{name}", partial=True)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.size.width
        base = self.rich_style
        if self._heading is not None and y == 0:
            return self._strip(self._heading, base, width)
        index = y - self._top + int(self.scroll_offset.y)
        if not 0 <= index < len(self._lines):
            return Strip.blank(width, base)
        if index == self._cursor:
            base += self.get_component_rich_style("line--cursor", partial=True)
        return self._strip(self._lines[index], base, width)

    def _strip(self, line: Line, base: Style, width: int) -> Strip:
        segments = [Segment(cell.text, base + self._style(cell.style)) for cell in line]
        return Strip(segments).adjust_cell_length(width, base).simplify()


def _changed_span(before: Line | None, after: Line | None) -> tuple[int, int]:
    """First and last column in which two lines differ: from the first cell to the last."""
    before, after = before or (), after or ()
    if before == after:
        return 0, 0
    starts = _starts(before), _starts(after)
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    start = starts[0][first]
    ends = starts[0][-1], starts[1][-1]
    if ends[0] != ends[1]:
        return start, max(ends)
    last_before, last_after = len(before), len(after)
    while last_before > first and last_after > first:
        if before[last_before - 1] != after[last_after - 1]:
            break
        last_before -= 1
        last_after -= 1
    return start, max(starts[0][last_before], starts[1][last_after])


def _starts(line: Line) -> list[int]:
    columns = [0]
    for cell in line:
        columns.append(columns[-1] + Segment(cell.text).cell_length)
    return columns
