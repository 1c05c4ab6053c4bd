"""A defect of the console itself: its traceback goes to a file, one sentence to the terminal."""

import os
import traceback
from pathlib import Path

from console.line import tidy

FILE = "console-failure.txt"
"""The last one only: it is for a report, not a log."""


def record(error: BaseException, logs: Path | None, version: str, *, attached: bool = False) -> str:
    """Keep what is known of ``error`` and say it in one sentence. Never raises.

    Args:
        logs: The folder for it; None where no home is known, and nothing is kept then.
        attached: The engine is in another process, and goes on.
    """
    what = tidy(f"{type(error).__name__}: {error}", limit=200)
    took = "; the engine goes on" if attached else ", its models with it"
    said = f"the console failed and has ended{took}: {what}"
    if logs is None:
        return said
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(logs / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(opened, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            file.write(f"Opta-LMX {version}\n" + "".join(traceback.format_exception(error)))
    except OSError:
        return said
    return f"{said}\nPlease report it with this file:\n{logs / FILE}"
