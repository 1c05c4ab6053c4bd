"""Records the demo: plays it without a terminal and keeps a picture of every beat."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from textual.pilot import Pilot

from console.demo.app import DemoApp
from console.demo.beat import Beat
from console.demo.clock import DemoClock
from console.demo.conductor import Part
from console.demo.film import Film, Picture, picture_of
from console.demo.script import SCRIPT
from console.demo.stage import Stage
from console.demo.still import StillEngine
from engine import EngineFace

SIZE = (120, 36)
BEGINS = 1_700_748_131.0
"""14:02:11 on a day like any other, UTC."""
BEAT_S = 4.0
"""So much later each beat is than the one before, by the clock that is shown."""
SHARE = 0.55
"""Part of a beat's reading time that its picture stands in the moving one."""
FAST = 1000.0
MOVING = "demo.svg"


class RecordingFailed(Exception):
    """The demo did not come to its end; the message says what it waited for."""


async def record(
    folder: Path, size: tuple[int, int] = SIZE, script: Sequence[Beat] = SCRIPT
) -> tuple[Path, ...]:
    """Play the demo and write a picture of every beat, and the moving one, into a folder.

    Args:
        folder: Made if it is not there.
        size: Columns and rows of the terminal.
        script: What is played.

    Returns:
        The files written, the moving one last.

    Raises:
        RecordingFailed: it got stuck.
        OSError: the folder cannot be written.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    taken: list[tuple[Beat, Picture]] = []
    with Stage() as stage, _utc():
        stills: list[StillEngine] = []
        pilots: list[Pilot[None]] = []
        clock, ids = DemoClock(lambda: BEGINS), itertools.count(1)

        def face(engine: EngineFace) -> EngineFace:
            stills.append(StillEngine(engine, stage.folder))
            return cast("EngineFace", stills[0])

        async def shown(beat: Beat) -> None:
            stills[0].frozen = True
            for screen in app.screen_stack:
                if (redraw := getattr(screen, "redraw", None)) is not None:
                    redraw()
            for _ in range(4):
                await pilots[0].pause()
            taken.append((beat, picture_of(app.export_screenshot())))
            stills[0].frozen = False
            clock.leap(BEAT_S)

        app = DemoApp(
            stage,
            script,
            pace=FAST,
            clock=clock,
            new_id=lambda: f"{next(ids):012x}",
            face=face,
            shown=shown,
            actor="ops@local",
            monotonic=lambda: 0.0,
        )
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            pilots.append(pilot)
            while app.conductor.part is Part.PLAYING:
                await pilot.pause(0.1)
            app.end()
            while app.return_code is None:
                await pilot.pause(0.05)
    if app.conductor.trouble:
        raise RecordingFailed(f"the demo waited for {app.conductor.trouble}, in vain")
    return await asyncio.to_thread(_write, folder, taken)


def _write(folder: Path, taken: list[tuple[Beat, Picture]]) -> tuple[Path, ...]:
    written = []
    for number, (beat, picture) in enumerate(taken, 1):
        path = folder / f"{number:02d}-{beat.name}.svg"
        path.write_text(Film([picture]).still(), encoding="utf-8")
        written.append(path)
    filmed = [(beat, picture) for beat, picture in taken if beat.filmed]
    film = Film([picture for _, picture in filmed])
    moving = film.moving([round(beat.read_s * SHARE, 1) for beat, _ in filmed])
    (folder / MOVING).write_text(moving, encoding="utf-8")
    return (*written, folder / MOVING)


@contextmanager
def _utc() -> Iterator[None]:
    """Times of day are those of one place."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
