"""The event log: bounded, with follow and search."""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import LOG
from console.line import Cell, Line
from console.presenter import event_line, notices_whole, simulated_ids
from console.screens.listing import Listing
from console.screens.page import MOVES, Drawing
from console.widgets.header import NoticeLines
from engine import Event

KEPT = 10_000
"""Events a screen keeps; the files hold the rest."""
_EVENT_ROWS = 8
"""Rows of the screen that notices never take from header, foot and the newest events."""


class LogScreen(Listing):
    """Events, oldest first; the newest stays in sight while it follows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(LOG),
        *MOVES,
        Binding("f", "follow", "follow", id="log.follow", show=False),
    ]
    KEYS = (("f", "follow"),)
    EMPTY = "no events yet"
    where = LOG

    def __init__(self) -> None:
        super().__init__()
        self.follow = True
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._shown = 0
        self._lines: dict[int, Line] = {}
        self._drawn_for = (0, 0)
        self._rows: list[tuple[Hashable, Line]] = []
        self._seen: Hashable = None
        self._simulated: frozenset[str] = frozenset()

    def compose(self) -> ComposeResult:
        """The lasting notices whole, over the sheet: they do not scroll away."""
        header, *rest = super().compose()
        yield header
        yield NoticeLines(id="notices")
        yield from rest

    def draw(self, width: int, now: float) -> Drawing:
        """The notices, then the events."""
        self._show_notices()
        return super().draw(width, now)

    def _show_notices(self) -> None:
        size, glyphs = self.size, self.glyphs
        lines = notices_whole(self.lmx.snapshot, size.width, glyphs)
        room = max(size.height - _EVENT_ROWS, 1)
        if len(lines) > room:
            left = len(lines) - room + 1
            more = f" {glyphs.ellipsis} {left} more lines: the terminal is too low"
            lines = (*lines[: room - 1], (Cell(more, "warn"),))
        panel = self.query_one(NoticeLines)
        panel.styles.height = len(lines)
        panel.show(lines)

    def rows(self, width: int, now: float) -> Sequence[tuple[Hashable, Line]]:
        """One line for each event that the search lets through."""
        self._take()
        last = self._events[-1].seq if self._events else 0
        simulated = simulated_ids(self.lmx.snapshot)
        if simulated != self._simulated:
            self._simulated = simulated
            self._lines.clear()
        seen = (last, self.filter, self.follow, width, int(now // 86_400), simulated)
        if seen == self._seen:
            return self._rows
        found = [e for e in self._events if self.matches(e.model_id, e.message, e.kind, e.actor)]
        self._shown = len(found)
        if self.follow and found:
            self.chosen = found[-1].seq
        self._seen = seen
        self._rows = [(event.seq, self._line(event, width, now)) for event in found]
        return self._rows

    def _line(self, event: Event, width: int, now: float) -> Line:
        """The line of an event, drawn once: thousands of them stand still while one arrives."""
        fits = (width, int(now // 86_400))
        if fits != self._drawn_for:
            self._drawn_for = fits
            self._lines.clear()
        line = self._lines.get(event.seq)
        if line is None:
            about = (event.ts, event.model_id, event.message, event.level)
            line = self._lines[event.seq] = event_line(
                *(*about, width, now, self.glyphs),
                actor=event.actor,
                simulated=event.model_id in self._simulated,
            )
            if len(self._lines) > 2 * KEPT:
                self._lines.clear()
        return line

    def _take(self) -> None:
        """Fetch what is new from the engine's memory; where it has none, from the snapshot."""
        last = self._events[-1].seq if self._events else 0
        fresh = self.lmx.engine.events(last) or self.lmx.snapshot.events
        self._events.extend(event for event in fresh if event.seq > last)

    def caption(self) -> tuple[str, str]:
        """How many, and whether it follows."""
        words = ["following" if self.follow else "not following (f)"]
        if self.filter:
            words.append(f"search: {self.filter[:30]}")
        return f"Log {self._shown:,} of {len(self._events):,}", ", ".join(words)

    def heading(self, width: int) -> Line | None:  # noqa: ARG002 - the lines need no heads
        """None: a line says what it is."""
        return None

    def action_follow(self) -> None:
        """Follow the newest event, or stay."""
        self.follow = not self.follow
        self.redraw()

    def action_move(self, how: str) -> None:
        """Moving up stops following, going to the end resumes it."""
        self.follow = how == "last"
        super().action_move(how)
