"""Pictures of a terminal as small SVGs, and many of them as one that moves.

Textual draws each screen as an SVG; here its rows are taken apart, so that a row that many pictures
share is written once. The moving one needs nothing but CSS: no script, no font, no browser to make.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

CELL, LINE = 12.2, 24.4
"""A character's width and a line's height in the pictures Rich draws."""
EDGE = 14
_BASE = 20
_RECT = re.compile(
    r'<rect fill="(#[0-9a-f]{6})" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" '
    r'height="[\d.]+" shape-rendering="crispEdges"/>'
)
_TEXT = re.compile(
    r'<text class="[^"]*-(r\d+)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+" '
    r'clip-path="[^"]*">(.*?)</text>'
)
_CLIP = re.compile(r'-line-\d+">\s*<rect x="0" y="[\d.]+" width="([\d.]+)"')
_RULE = re.compile(r"-(r\d+) \{ ([^}]*?);? \}")
_FONT = "'DejaVu Sans Mono',Menlo,Consolas,monospace"
_BLANK = "\xa0"


@dataclass(frozen=True, slots=True)
class Run:
    """Cells of one row in one look: text if ``text``, else a background of ``look``.

    ``look`` is a colour for a background, CSS declarations for a text.
    """

    column: int
    width: int
    look: str
    text: str = ""


Row = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One screen, row by row, and the colour between the cells."""

    rows: tuple[Row, ...]
    columns: int
    background: str


def picture_of(svg: str) -> Picture:
    """Take a screenshot of Textual's apart: what ``App.export_screenshot`` returned.

    Raises:
        ValueError: it is not drawn as expected: Textual or Rich has changed.
    """
    clips = _CLIP.findall(svg)
    if not clips:
        raise ValueError("the screenshot has no rows as Rich draws them")
    columns, rows = _cells(clips[0]), len(clips) + 1  # Rich draws none around the last row
    rules = {name: css.replace(": ", ":").rstrip(";") for name, css in _RULE.findall(svg)}
    backgrounds: list[list[Run]] = [[] for _ in range(rows)]
    texts: list[list[Run]] = [[] for _ in range(rows)]
    for fill, x, y, width in _RECT.findall(svg):
        row, column, size = round((float(y) - 1.5) / LINE), _cells(x), _cells(width)
        before = backgrounds[row][-1] if backgrounds[row] else None
        if before and before.look == fill and before.column + before.width == column:
            backgrounds[row][-1] = Run(before.column, before.width + size, fill)
        else:
            backgrounds[row].append(Run(column, size, fill))
    for name, x, y, inner in _TEXT.findall(svg):
        text = html.unescape(inner)
        row, column = round((float(y) - _BASE) / LINE), _cells(x)
        column += len(text) - len(text.lstrip(_BLANK))
        text = text.strip(_BLANK)
        if text:
            texts[row].append(Run(column, len(text), rules[name], text))
    fills = [run for row in backgrounds for run in row]
    if not fills or not any(texts):
        raise ValueError("the screenshot holds no cells as Rich draws them")
    sizes: dict[str, int] = {}
    for run in fills:
        sizes[run.look] = sizes.get(run.look, 0) + run.width
    base = max(sizes, key=lambda look: sizes[look])
    return Picture(
        tuple(
            (*(run for run in backgrounds[row] if run.look != base), *texts[row])
            for row in range(rows)
        ),
        columns,
        base,
    )


def _cells(length: str) -> int:
    return round(float(length) / CELL)


class Film:
    """Pictures of one size, in order."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = tuple(pictures)
        self._looks: dict[str, str] = {}
        self._rows: dict[Row, str] = {}

    def still(self) -> str:
        """The first picture alone."""
        body = "".join(self._placed(self._pictures[0]))
        return self._document(body, "")

    def moving(self, seconds: Sequence[float]) -> str:
        """All of them, one after the other and over again.

        Args:
            seconds: How long each is shown.
        """
        total, at = sum(seconds), 0.0
        frames, rules = [], [".f{visibility:hidden}", "#f0{visibility:visible}"]
        for number, (picture, length) in enumerate(zip(self._pictures, seconds, strict=True)):
            begin, end = 100 * at / total, 100 * (at + length) / total
            steps = [] if number == 0 else ["0%{visibility:hidden}"]
            steps += [f"{begin:.4g}%{{visibility:visible}}", f"{end:.4g}%{{visibility:hidden}}"]
            rules.append(f"@keyframes k{number}{{{''.join(steps)}}}")
            rules.append(f"#f{number}{{animation:k{number} {total:g}s step-end infinite}}")
            frames.append(f'<g class="f" id="f{number}">{"".join(self._placed(picture))}</g>')
            at += length
        rules.append("@media(prefers-reduced-motion:reduce){.f{animation:none!important}}")
        return self._document("\n".join(frames), "".join(rules))

    def _placed(self, picture: Picture) -> list[str]:
        """The rows of a picture, each named where it stands."""
        return [
            f'<use href="#{self._named(row)}" y="{number * LINE:.5g}"/>'
            for number, row in enumerate(picture.rows)
            if row
        ]

    def _named(self, row: Row) -> str:
        return self._rows.setdefault(row, f"r{len(self._rows)}")

    def _drawn(self, row: Row) -> str:
        parts = []
        for run in row:
            x = f"{run.column * CELL:.5g}"
            wide = f"{run.width * CELL:.5g}"
            if not run.text:
                parts.append(f'<rect x="{x}" width="{wide}" height="24.6" fill="{run.look}"/>')
                continue
            look = self._looks.setdefault(run.look, f"c{len(self._looks)}")
            text = html.escape(run.text, quote=False)
            parts.append(f'<text class="{look}" x="{x}" y="18.5" textLength="{wide}">{text}</text>')
        return "".join(parts)

    def _document(self, body: str, motion: str) -> str:
        first = self._pictures[0]
        width = first.columns * CELL + 2 * EDGE
        height = len(first.rows) * LINE + 2 * EDGE
        rows = "\n".join(
            f'<g id="{name}">{self._drawn(row)}</g>' for row, name in self._rows.items()
        )
        looks = "".join(f".{name}{{{css}}}" for css, name in self._looks.items())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">\n'
            f"<style>text{{font:{_BASE}px {_FONT};dominant-baseline:alphabetic;white-space:pre}}"
            f"rect{{shape-rendering:crispEdges}}{looks}{motion}</style>\n"
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{first.background}"/>\n'
            f"<defs>\n{rows}\n</defs>\n"
            f'<g transform="translate({EDGE} {EDGE})">{body}</g>\n</svg>\n'
        )
