"""Fewer bytes for the same picture: colour sequences are sent as differences.

Textual ends every run of text with a reset and names foreground and background anew for the next,
about 42 bytes a run; most runs differ from the one before in the foreground alone.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from textual.driver import Driver

_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_MOVE = re.compile(r"(?:\x1b\[[0-9]+;[0-9]+H)+")
_RESET = "\x1b[0m"

FULL, LAST, SHORT = 20, 28, 64
"""So many writes may wait for the terminal before pictures are left out, and before anything is;
Textual's own queue blocks at 30. No mode of a terminal is set by more than so many characters."""
CATCH_UP_S = 0.1

Look = tuple[str, str, str]
"""Attributes, foreground and background as parameter strings; empty means the default."""


def _look(parameters: str) -> Look | None:
    """What a sequence sets from a reset state; None for anything this does not know."""
    numbers = parameters.split(";")
    attributes: list[str] = []
    colours = {"3": "", "4": ""}
    at = 0
    while at < len(numbers):
        number = numbers[at]
        if number in ("38", "48"):
            length = {"2": 5, "5": 3}.get(numbers[at + 1] if at + 1 < len(numbers) else "")
            if length is None or at + length > len(numbers):
                return None
            colours[number[0]] = ";".join(numbers[at : at + length])
            at += length
            continue
        if number.isdecimal() and 1 <= int(number) <= 9:
            attributes.append(number)
        elif number.isdecimal() and (30 <= int(number) <= 37 or 90 <= int(number) <= 97):
            colours["3"] = number
        elif number.isdecimal() and (40 <= int(number) <= 47 or 100 <= int(number) <= 107):
            colours["4"] = number
        elif number not in ("39", "49"):
            return None
        at += 1
    return ";".join(attributes), colours["3"], colours["4"]


def _difference(before: Look, after: Look) -> str:
    """The sequence from one look to the other, without a reset where none is needed."""
    if before[0] != after[0]:
        return f"\x1b[{';'.join(part for part in ('0', *after) if part)}m"
    parts = []
    for old, new, default in ((before[1], after[1], "39"), (before[2], after[2], "49")):
        if old != new:
            parts.append(new or default)
    return f"\x1b[{';'.join(parts)}m" if parts else ""


def lean(data: str) -> str:
    """The same picture in fewer bytes. Data that ends in a reset still does."""
    if _RESET not in data:
        return data
    out: list[str] = []
    now: Look | None = None
    owed, clear = False, False  # a reset not yet sent; nothing set since a reset was sent
    # re.split with one group gives text, parameters, text, parameters, …, text.
    for index, piece in enumerate(_SGR.split(data)):
        if index % 2 == 0:
            if piece and owed and not _MOVE.fullmatch(piece):
                out.append(_RESET)
                owed, now, clear = False, None, True
            out.append(piece)
        elif piece in ("", "0"):
            owed = True
        else:
            look = _look(piece)
            if owed and now is not None and look is not None:
                out.append(_difference(now, look))
            else:
                out.append(f"{_RESET if owed else ''}\x1b[{piece}m")
                if not clear and not owed:
                    look = None  # it adds to a state that is not known here
            now, owed, clear = look, False, False
    if owed:
        out.append(_RESET)
    return "".join(out)


def _waiting(writer: Any) -> int:
    """How many writes the terminal has not taken."""
    return int(writer._queue.qsize())  # noqa: SLF001 - Textual offers nothing to ask


def lean_driver(base: type[Driver], lost: Callable[[], None]) -> type[Driver]:
    """A driver like ``base`` whose writes are lean, and which waits for no terminal that is gone.

    Args:
        lost: Called on the app's loop when the terminal cannot be read any more.
    """

    class LeanDriver(base):  # type: ignore[misc, valid-type]
        abandoned = False
        behind = False
        """The terminal takes nothing, and pictures are left out until it does."""

        def write(self, data: str) -> Any:
            # The queue to a writer that has died, or waits for a terminal that takes nothing, would
            # fill, and then block the loop that the engine and its streams live on.
            writer = getattr(self, "_writer_thread", None)
            if writer is None:
                return super().write(lean(data))
            if self.abandoned or not writer.is_alive():
                return None
            waiting = _waiting(writer)
            if waiting >= (FULL if len(data) > SHORT else LAST):
                self._fall_behind(writer)
                return None
            return super().write(lean(data))

        def _fall_behind(self, writer: Any) -> None:
            """Leave pictures out until the terminal takes something, then paint all of it."""
            if self.behind:
                return
            self.behind = True
            loop = asyncio.get_running_loop()

            def look() -> None:
                if _waiting(writer) and writer.is_alive() and not self.abandoned:
                    loop.call_later(CATCH_UP_S, look)
                    return
                self.behind = False
                self._app.refresh(layout=True)

            loop.call_later(CATCH_UP_S, look)

        def abandon(self) -> None:
            """The terminal is gone: write nothing more, and wait for nothing it should take."""
            self.abandoned = True

        def close(self) -> None:
            if not self.abandoned:
                super().close()

        def run_input_thread(self) -> None:
            try:
                super().run_input_thread()
            except OSError:
                self._app.call_later(lost)

    return LeanDriver
