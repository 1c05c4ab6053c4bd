"""``lmx demo``: the tour on simulated models, in the real console."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, REFUSED, USAGE, complain
from console.cli.release import program_version

if TYPE_CHECKING:
    from engine import Settings


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("demo", help="the tour: four scenes on simulated models")
    parser.add_argument(
        "--pace", type=_pace, default=1.0, metavar="N", help="N times as fast; 1 is for reading"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="write a picture of every beat, and a film"
    )
    parser.set_defaults(run=run)


def _pace(text: str) -> float:
    pace = float(text)
    if not 0.05 <= pace <= 1000:
        raise argparse.ArgumentTypeError("a number from 0.05 to 1000")
    return pace


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Play the demo, or record it; returns the exit code."""
    if options.record is not None:
        return _record(options.record)
    from console.terminal import read_terminal

    terminal = read_terminal()
    if not terminal.usable:
        why = "TERM is dumb" if terminal.tty else "this is no terminal"
        return complain(f"the demo needs a terminal, and {why}", USAGE)

    from console.demo.app import DemoApp
    from console.demo.script import SCRIPT
    from console.demo.stage import Stage

    with Stage(options.pace) as stage:

        def leave(code: int) -> None:
            """The terminal is gone and may never let go: the stage must not stay for that."""
            stage.clear()
            os._exit(code)

        app = DemoApp(
            stage,
            SCRIPT,
            pace=options.pace,
            actor=terminal.actor,
            theme=settings.theme,
            ascii_only=terminal.ascii_only,
            no_color=terminal.no_color,
            tmux=terminal.tmux,
            version=program_version(),
            hard_exit=leave,
        )
        app.run(mouse=terminal.mouse)
        return app.return_code or DONE


def _record(folder: Path) -> int:
    import asyncio

    from console.demo.recorder import RecordingFailed, record

    try:
        written = asyncio.run(record(folder))
    except (RecordingFailed, OSError) as error:
        return complain(f"not recorded: {error}", REFUSED)
    print(f"{len(written)} pictures in {folder}; the moving one is {written[-1].name}")
    return DONE
