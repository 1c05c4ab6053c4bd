"""The command line: which command was meant, with which options."""

import argparse
import sys
from collections.abc import Sequence

from console.cli import (
    action,
    canary,
    chat,
    demo,
    doctor,
    explanation,
    models,
    registry,
    screen,
    serve,
    service,
    status,
    stop,
)
from console.cli.answer import DONE, USAGE, complain
from console.cli.client import asked
from console.cli.launcher import Launch, launched
from console.cli.release import program_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        # What asks a running engine needs no settings, which take a while to import and to read.
        ask = getattr(options, "ask", None)
        if options.command is None:
            return launched(lambda launch: _open(options, launch))
        return asked(options, lambda: int(ask(options)) if ask else _run(options))
    except BrokenPipeError:  # `lmx models | head`
        sys.stderr.close()
        return DONE


def _open(options: argparse.Namespace, launch: Launch | None) -> int:
    """Open the console."""
    options.launch = launch
    return asked(options, lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    from engine import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        return complain(str(error), USAGE)
    return int(options.run(settings, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmx",
        description="Operator console for local language models. Without a command: the console.",
    )
    parser.add_argument("--version", action="version", version=f"lmx {program_version()}")
    screen.add_to(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for noun in (
        serve,
        service,
        stop,
        status,
        models,
        explanation,
        action,
        canary,
        chat,
        registry,
        doctor,
        demo,
    ):
        noun.add_to(commands)
    return parser
