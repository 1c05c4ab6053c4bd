"""``lmx`` without a command: the console itself. The only place that imports Textual."""

import argparse
from typing import TYPE_CHECKING

from console.cli.answer import DONE, REFUSED, USAGE, complain
from console.cli.release import program_version
from console.cli.serve import address

if TYPE_CHECKING:
    from engine import Settings


def add_to(parser: argparse.ArgumentParser) -> None:
    """Declare the console's options."""
    parser.add_argument("--readonly", action="store_true", help="look, change nothing")
    parser.add_argument("--theme", help="dark, light, ansi, or a Textual theme")
    parser.add_argument("--ascii", action="store_true", help="plain ASCII glyphs and borders")
    parser.add_argument(
        "--mouse", action=argparse.BooleanOptionalAction, help="mouse; default: off over SSH"
    )
    parser.add_argument("--api", metavar="HOST:PORT", type=address, help="where the API answers")
    parser.add_argument("--no-api", action="store_true", help="no API")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Open the console; returns the exit code."""
    from console.keymap import complaint
    from console.terminal import read_terminal
    from engine import Engine, HomeTaken, HomeUnusable, check_home

    if wrong := complaint(settings.keymap):
        return complain(wrong, USAGE)
    terminal = read_terminal()
    if not terminal.usable:
        why = "TERM is dumb" if terminal.tty else "this is no terminal"
        return complain(f"the console needs a terminal, and {why}; try `lmx models`", USAGE)
    try:
        check_home(settings.home)
    except (HomeTaken, HomeUnusable) as error:
        return complain(str(error), REFUSED)

    from console.app import LmxApp
    from console.outlet import ApiOutlet

    # Who only looks does not load either.
    engine = Engine(settings.without_preload() if options.readonly else settings)
    outlet = None
    if (where := options.api or settings.api) and not options.no_api:
        outlet = ApiOutlet(
            engine, settings, where, readonly=options.readonly, version=program_version()
        )
    app = LmxApp(
        engine=engine,
        outlet=outlet,
        actor=terminal.actor,
        readonly=options.readonly,
        theme=options.theme or settings.theme or ("ansi" if terminal.few_colours else None),
        ascii_only=options.ascii or terminal.ascii_only,
        no_color=terminal.no_color,
        tmux=terminal.tmux,
        refresh_hz=settings.refresh_hz,
        keymap=settings.keymap,
        version=program_version(),
    )
    app.run(mouse=terminal.mouse if options.mouse is None else options.mouse)
    return app.return_code or DONE
