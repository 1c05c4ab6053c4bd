"""The command line: which command was meant, with which options."""

import argparse
import sys
from collections.abc import Sequence

from console.cli import canary, demo, doctor, explanation, models, registry, screen, serve
from console.cli.answer import DONE, USAGE, complain
from console.cli.release import program_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    from engine import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        return complain(str(error), USAGE)
    try:
        return int(options.run(settings, options))
    except BrokenPipeError:  # `lmx models | head`
        sys.stderr.close()
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmx",
        description="Operator console for local language models. Without a command: the console.",
    )
    parser.add_argument("--version", action="version", version=f"lmx {program_version()}")
    screen.add_to(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for noun in (serve, models, explanation, canary, registry, doctor, demo):
        noun.add_to(commands)
    return parser
