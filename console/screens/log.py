"""The event log: bounded, with follow and search."""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import LOG
from console.line import Cell, DrawnLines, Line
from console.masthead import notices_whole
from console.presenter import event_line, simulated_ids
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
        self._found: list[Event] = []
        self._drawn: Sequence[Line] = ()
        self._seen: Hashable = None

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

    def rows(self, width: int, now: float) -> tuple[Sequence[Hashable], Sequence[Line]]:
        """One line for each event that the search lets through; drawn once it is in sight."""
        self._take()
        last = self._events[-1].seq if self._events else 0
        simulated = simulated_ids(self.lmx.snapshot)
        seen = (last, self.filter, width, int(now // 86_400), simulated)
        if seen != self._seen:
            self._seen = seen
            found = self._found = [event for event in self._events if self._wanted(event)]

            def draw(index: int) -> Line:
                event = found[index]
                about = (event.ts, event.model_id, event.message, event.level, width, now)
                real = event.model_id not in simulated
                return event_line(*about, self.glyphs, actor=event.actor, simulated=not real)

            self._drawn = DrawnLines(len(found), draw)
        if self.follow and self._found:
            self.chosen = self._found[-1].seq
        return [event.seq for event in self._found], self._drawn

    def _wanted(self, event: Event) -> bool:
        return self.matches(event.model_id, event.message, event.kind, event.actor)

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
        return f"Log {len(self._found):,} of {len(self._events):,}", ", ".join(words)

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
