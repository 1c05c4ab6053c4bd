"""Foreign text in paragraphs: made safe, wrapped by terminal columns, styled as one."""

from rich.cells import cell_len, get_character_cell_size

from console.line import Cell, Line
from console.status import Glyphs
from engine import clean

_UNSURE = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))


def safe(text: str, glyphs: Glyphs, *, limit: int | None = None) -> str:
    """Make text of several lines fit to show: newlines stay, nothing else that controls.

    Args:
        limit: Longest result in characters; None for text that is already bounded.
    """
    shown = clean(text, limit=limit).translate(_UNSURE)
    if glyphs.ascii_only and not shown.isascii():
        shown = shown.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return shown


_ASCII = str.maketrans({"…": "~", "→": "->", "·": "-", "–": "-", "—": "-", "’": "'", "×": "x"})


def _break(word: str, width: int) -> list[str]:
    """A word too long for a line, in pieces that fit."""
    pieces, start, used = [], 0, 0
    for index, character in enumerate(word):
        size = get_character_cell_size(character)
        if used + size > width and index > start:
            pieces.append(word[start:index])
            start, used = index, 0
        used += size
    pieces.append(word[start:])
    return pieces


def wrap(text: str, width: int) -> list[str]:
    """Break text at blanks into lines of at most ``width`` columns; its own newlines count.

    Leading blanks of a line are kept, as code needs them.
    """
    width = max(width, 1)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if cell_len(paragraph) <= width:
            lines.append(paragraph.rstrip(" "))
            continue
        body = paragraph.lstrip(" ")
        line = paragraph[: len(paragraph) - len(body)][: width // 2]
        used, fresh = len(line), True
        for word in body.split(" "):
            size = cell_len(word)
            if not fresh and used + 1 + size <= width:
                line, used = f"{line} {word}", used + 1 + size
                continue
            if not fresh:
                lines.append(line.rstrip(" "))
                line, used = "", 0
            if used + size > width:
                *full, line = _break(line + word, width)
                lines += full
                used = cell_len(line)
            else:
                line, used = line + word, used + size
            fresh = False
        lines.append(line.rstrip(" "))
    return lines


def paragraph(text: str, width: int, style: str = "text", *, indent: int = 1) -> list[Line]:
    """Safe text as lines of one style, set in by ``indent`` columns; one stays free right."""
    room = max(width - indent - 1, 8)
    return [(Cell(" " * indent), Cell(line, style)) for line in wrap(text, room)]


def labelled(
    label: str, text: str, width: int, style: str = "text", *, column: int = 13
) -> list[Line]:
    """A label in its own column and a paragraph beside it; nothing where the text is empty."""
    if not text:
        return []
    room = max(width - column - 2, 8)
    head = Cell(" " + label.ljust(column)[:column], "dim")
    blank = Cell(" " * (column + 1))
    return [
        (blank if index else head, Cell(line, style)) for index, line in enumerate(wrap(text, room))
    ]
