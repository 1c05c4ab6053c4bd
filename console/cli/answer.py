"""How a command answers: exit codes, rows for programs on stdout, words for people on stderr."""

import json
import sys
from collections.abc import Sequence

DONE, REFUSED, USAGE, NO_ENGINE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done, refused, wrong usage, no engine to ask (or another holds the home), ctrl+c."""


def complain(text: str, code: int) -> int:
    """Say on stderr what is wrong; returns ``code``."""
    tell(text)
    return code


def tell(text: str) -> None:
    """A word for people, on stderr."""
    print(f"lmx: {text}", file=sys.stderr, flush=True)


def say(row: object) -> None:
    """One JSON object on a line of stdout."""
    print(json.dumps(row, default=str), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell; the last one is not padded."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    widths[-1] = 0
    for row in (head, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
