"""The bottom line: the keys that do something now, and no others."""

from console.commands import Selection, offered
from console.line import Cell, Line
from console.widgets.lines import LinePanel


class FooterLine(LinePanel, can_focus=False):
    """Lines from :func:`footer_line`."""


def footer_line(selection: Selection, width: int) -> Line:
    """The keys that are valid for this selection, as many as fit; help and quit always do.

    Args:
        width: Columns of the line.
    """
    shown = offered(selection)

    def taken() -> int:
        return sum(len(c.shown_key) + len(c.title) + 3 for c in shown) + 1

    while shown and taken() > width:
        spare = [c for c in shown if c.id not in ("help", "quit")]
        if not spare:
            break
        shown.remove(spare[-1])
    cells: list[Cell] = [Cell(" ")]
    for command in shown:
        cells += [Cell(command.shown_key, "key"), Cell(f" {command.title}  ", "dim")]
    return tuple(cells)
