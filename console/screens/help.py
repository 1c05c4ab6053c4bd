"""Every key and what the states mean, from the command table."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from console.bindings import bindings_for
from console.commands import COMMANDS, HELP, KEY_NAMES, Command
from console.line import Cell, Line, left
from console.paragraph import wrap
from console.screens.page import MOVES, Drawing, Page
from console.status import OVERRIDE, SIGNS, STRIKE, Glyphs

STATES = (
    ("admitted", "passed the gate, its worker is about to start"),
    ("loading", "a worker reads the weights"),
    ("canary_pending", "loaded and proving itself; it gets no traffic yet"),
    ("routable", "proved itself; the only state that gets requests"),
    ("quarantined", "failed its canary or died three times; waits for a release (r)"),
    ("unloaded", "known, not in memory"),
    ("refused", "the gate said no; e says why, o overrides where that helps"),
    ("draining", "finishes its requests, then ends"),
    ("back-off", "died; starts again by itself when the countdown ends"),
    ("STALE", "its host is not heard: the row is as it last was"),
    ("host lost", "its host is given up; it goes on when the host is back"),
)
ELSEWHERE = (
    ("enter", "in a dialog: confirm what has the focus; in the chat: send"),
    ("tab", "in a dialog or the chat: next field"),
    ("esc", "in the chat: cancel the answer, then leave"),
    ("ctrl+j", "in the chat: new line"),
    ("f", "in the log: follow the newest line"),
    ("x", "in the requests: cancel the chosen one"),
    ("enter", "in the hosts: the models of the chosen one"),
    ("1-8", "in the details: go to a section"),
    ("ctrl+c", "cancel what runs, or say how to quit"),
    ("ctrl+q", "quit from anywhere"),
)
_KEY = 16


class HelpScreen(Page):
    """The command table by group, the keys of the other screens, and the states.

    Args:
        commands: The table; another one in tests.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(HELP), *MOVES]
    where = HELP

    def __init__(self, commands: Sequence[Command] = COMMANDS) -> None:
        super().__init__()
        self._commands = tuple(commands)

    def draw(self, width: int, now: float) -> Drawing:  # noqa: ARG002 - help has no age
        """The whole help."""
        version = self.lmx.version
        title = f"Help {self.glyphs.dot} Opta-LMX {version}".rstrip()
        return Drawing(title, help_lines(self._commands, width, self.glyphs))


def help_lines(commands: Sequence[Command], width: int, glyphs: Glyphs) -> list[Line]:
    """Groups in the table's order, one or more lines for each entry."""
    lines: list[Line] = []
    for group in dict.fromkeys(command.group for command in commands):
        lines += _head(group, lines)
        for command in commands:
            if command.group == group:
                keys = " ".join(KEY_NAMES.get(key, key) for key in command.keys)
                keys = keys.replace("↑", "up").replace("↓", "down") if glyphs.ascii_only else keys
                lines += _entry(Cell(keys, "key"), command.help, width)
    lines += _head("Dialogs and other screens", lines)
    for key, text in ELSEWHERE:
        lines += _entry(Cell(key, "key"), text, width)
    lines += _head("States", lines)
    for word, text in STATES:
        sign = SIGNS[word]
        lines += _entry(Cell(f"{glyphs.of(sign)} {word}", sign.style), text, width)
    strike = "x" if glyphs.ascii_only else STRIKE
    lines += _entry(Cell(strike * 3, "bad"), "strikes: crashes and hangs that count", width)
    lines += _entry(Cell(OVERRIDE, "badge"), "loaded although a check refused it", width)
    return lines


def _head(text: str, before: list[Line]) -> list[Line]:
    line: Line = (Cell(f" {text}", "head"),)
    return [(), line] if before else [line]


def _entry(key: Cell, text: str, width: int) -> list[Line]:
    first = (Cell("  "), Cell(left(key.text, _KEY) + " ", key.style))
    blank = (Cell(" " * (_KEY + 3)),)
    parts = wrap(text, max(width - _KEY - 4, 10))
    return [(*(blank if i else first), Cell(part, "text")) for i, part in enumerate(parts)]
