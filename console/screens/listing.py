"""A page of rows with one of them chosen, by its key and never by its place."""

from collections.abc import Hashable, Sequence

from textual import on
from textual.app import ComposeResult

from console.line import Cell, Line
from console.screens.page import Drawing, Page, Sheet
from console.widgets.filter import FilterBar
from console.widgets.footer import FooterLine
from console.widgets.header import HeaderLine


class Listing(Page):
    """Rows that can be filtered and walked through.

    A subclass gives its rows in :meth:`rows`; the chosen one stays chosen while rows come and go,
    and none is chosen once it is gone.
    """

    FILTERED = True
    EMPTY = "nothing to show"

    def __init__(self) -> None:
        super().__init__()
        self.filter = ""
        self.chosen: Hashable = None
        self._keys: tuple[Hashable, ...] = ()

    def compose(self) -> ComposeResult:
        """Header, sheet, filter, foot."""
        yield HeaderLine(id="header")
        yield Sheet(id="sheet", classes="panel")
        if self.FILTERED:
            yield FilterBar(id="filter")
        yield FooterLine(id="footer")

    def rows(self, width: int, now: float) -> tuple[Sequence[Hashable], Sequence[Line]]:
        """The keys and the lines of every row that the filter lets through."""
        raise NotImplementedError

    def caption(self) -> tuple[str, str]:
        """Title and subtitle; called after :meth:`rows`."""
        raise NotImplementedError

    def heading(self, width: int) -> Line | None:
        """The column heads."""
        raise NotImplementedError

    def draw(self, width: int, now: float) -> Drawing:
        """The rows, with the cursor on the chosen one."""
        keys, lines = self.rows(width, now)
        first = not self._keys
        self._keys = tuple(keys)
        if self.chosen not in self._keys:
            self.chosen = self._keys[0] if first and self._keys else None
        title, subtitle = self.caption()
        if not lines:
            word = "nothing matches the filter (esc clears it)" if self.filter else self.EMPTY
            lines = [(Cell(f" {word}", "dim"),)]
        cursor = self._keys.index(self.chosen) if self.chosen is not None else None
        return Drawing(title, lines, subtitle, self.heading(width), cursor)

    def drawn(self) -> None:
        """Keep the chosen row in sight once the new rows are laid out."""
        self.call_after_refresh(self.sheet.reveal_cursor)

    def matches(self, *texts: str) -> bool:
        """True if every word of the filter is in one of these texts."""
        if not self.filter:
            return True
        whole = " ".join(texts).casefold()
        return all(word in whole for word in self.filter.casefold().split())

    def action_move(self, how: str) -> None:
        """Choose another row."""
        keys = self._keys
        if not keys:
            return
        last, page = len(keys) - 1, max(self.sheet.size.height - 2, 1)
        at = keys.index(self.chosen) if self.chosen in keys else 0
        target = {
            "up": at - 1,
            "down": at + 1 if self.chosen in keys else 0,
            "page_up": at - page,
            "page_down": at + page,
            "first": 0,
            "last": last,
        }[how]
        self.chosen = keys[min(max(target, 0), last)]
        self.redraw()

    @property
    def copy_text(self) -> str:
        """The chosen row as plain text."""
        if self.chosen not in self._keys:
            return ""
        line = self.sheet.lines[self._keys.index(self.chosen)]
        return "".join(cell.text for cell in line).strip()

    def command_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def command_back(self) -> None:
        """Clear the filter, then leave."""
        if self.filter:
            self.query_one(FilterBar).clear()
        else:
            self.lmx.command_back()

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        self.filter = event.text
        self._keys = ()
        self.redraw()

    @on(FilterBar.Left)
    def _typed(self) -> None:
        self.sheet.focus()
