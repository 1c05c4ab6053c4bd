"""A line of text in styled cells, measured in terminal columns, and the ways to fit one."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, overload

from rich.cells import cell_len, set_cell_size

from engine import clean_line

# Joiners and variation selectors: terminals disagree about the width of what they make.
_UNSURE = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))
_ASCII = str.maketrans({"…": "~", "→": "->", "·": "-", "–": "-", "—": "-", "’": "'", "×": "x"})


class Cell(NamedTuple):
    """A run of text in one style; ``style`` is a name from the theme, empty for plain text."""

    text: str
    style: str = ""


Line = tuple[Cell, ...]


class DrawnLines(Sequence[Line]):
    """Lines that are drawn when they are looked at, each once: of thousands a screen sees thirty.

    Args:
        count: How many there are.
        draw: Draws the line of an index.
    """

    def __init__(self, count: int, draw: Callable[[int], Line]) -> None:
        self._count = count
        self._draw = draw
        self._drawn: dict[int, Line] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...

    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        at = index + self._count if index < 0 else index
        if not 0 <= at < self._count:
            raise IndexError(index)
        if (line := self._drawn.get(at)) is None:
            line = self._drawn[at] = self._draw(at)
        return line


def plain_error(error: Exception) -> str:
    """An exception nobody foresaw, in one line."""
    return tidy(f"{type(error).__name__}: {error}", limit=300)


def tidy(text: str, *, ascii_only: bool = False, limit: int | None = 400) -> str:
    """Make foreign text fit for a cell: one line, no control byte, no width in doubt.

    Args:
        ascii_only: Replace what an ASCII terminal cannot draw.
        limit: Longest result in characters.
    """
    line = clean_line(text, limit=limit).translate(_UNSURE)
    if ascii_only and not line.isascii():
        line = line.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return line


def width_of(line: Iterable[Cell]) -> int:
    """Terminal columns a line takes."""
    return sum(cell_len(cell.text) for cell in line)


def cut(text: str, width: int, mark: str = "…") -> str:
    """Keep the beginning: at most ``width`` columns, ending in ``mark`` when cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + mark if width > 1 else mark[:width]


def _tail(text: str, width: int) -> str:
    """The longest end of a text that fits in ``width`` columns."""
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= width:
        start -= 1
    return text[start:]


def shorten(text: str, width: int, mark: str = "…") -> str:
    """Shorten a model id in its middle: ids differ at their ends (``-4bit``, ``.Q4_K_M``).

    Of ``org/name`` the organisation gives way first.
    """
    if cell_len(text) <= width:
        return text
    if width <= 4:
        return cut(text, width, mark)
    organisation, slash, name = text.rpartition("/")
    if slash:
        room = width - cell_len(name) - 2
        if room >= 2:
            return set_cell_size(organisation, room).rstrip() + mark + "/" + name
        return shorten(name, width, mark)
    end = _tail(text, (width - 1) * 2 // 5)
    head = set_cell_size(text, width - 1 - cell_len(end)).rstrip()
    return head + mark + end


def left(text: str, width: int, mark: str = "…") -> str:
    """Exactly ``width`` columns, text at the left."""
    return set_cell_size(cut(text, width, mark), width)


def right(text: str, width: int, mark: str = "…") -> str:
    """Exactly ``width`` columns, text at the right."""
    text = cut(text, width, mark)
    return " " * (width - cell_len(text)) + text


def spread(start: Line, end: Line, width: int) -> Line:
    """One line of ``width`` columns with ``start`` at its left and ``end`` at its right."""
    gap = width - width_of(start) - width_of(end)
    return (*start, Cell(" " * max(gap, 1)), *end)
