"""The band at the top in which a demo tells what happens."""

from console.line import Cell, Line, cut, spread
from console.paragraph import safe, wrap
from console.status import Glyphs
from console.widgets.lines import LinePanel

ROWS = 3
"""One for the scene and the keys, two for the sentence: 80 columns hold some 155 characters."""


class CaptionBar(LinePanel, can_focus=False):
    """Lines from :func:`caption_lines`."""

    DEFAULT_CSS = """
    CaptionBar { height: 3; }
    """


def caption_lines(
    scene: str, place: str, text: str, keys: str, width: int, glyphs: Glyphs
) -> tuple[Line, ...]:
    """Scene and place at the left, what the keys do at the right, the sentence below.

    Args:
        place: Where in the demo this is, such as ``7/30``.
        keys: What the presenter's keys do now.
        width: Columns of the band.
    """
    dot = f" {glyphs.dot} "
    title = (Cell(f" {scene}", "badge"), Cell(f"{dot}{place}" if place else "", "dim"))
    room = width - len(scene) - len(place) - 8
    head = spread(title, (Cell(cut(keys, room, glyphs.ellipsis) + " ", "dim"),), width)
    words = _balanced(safe(text, glyphs), width - 2)
    body = [(Cell(" " + line, "name"),) for line in words[: ROWS - 1]]
    return (head, *body, *[()] * (ROWS - 1 - len(body)))


def _balanced(text: str, width: int) -> list[str]:
    """Wrapped to lines of about one length: no last word stands alone."""
    lines = wrap(text, width)
    for narrower in range(width - 1, width // 2, -1):
        tried = wrap(text, narrower)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines
