"""``lmx`` without a command: the console itself. The only place that imports Textual."""

import argparse
from typing import TYPE_CHECKING, Any

from console.cli import attach, cluster, solitude
from console.cli.answer import REFUSED, USAGE, complain
from console.cli.client import NoEngine
from console.cli.household import api_of, own_engine
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
    cluster.add_to(parser)
    attach.add_to(parser)
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Open the console; returns the exit code."""
    from console.keymap import complaint
    from console.terminal import read_terminal
    from engine import ClusterTrouble, FaceMismatch, HomeTaken, HomeUnusable

    if wrong := complaint(settings.keymap):
        return complain(wrong, USAGE)
    terminal = read_terminal()
    if not terminal.usable:
        why = "TERM is dumb" if terminal.tty else "this is no terminal"
        return complain(f"the console needs a terminal, and {why}; try `lmx models`", USAGE)
    if options.attach and options.cluster:
        return complain("--cluster is for an engine of one's own; leave it out, or --attach", USAGE)
    try:
        found = _to_attach_to(settings, options) or own_engine(settings, options)
    except (HomeTaken, HomeUnusable, FaceMismatch) as error:
        return complain(str(error), REFUSED)
    except ClusterTrouble as trouble:
        return complain(str(trouble), USAGE)

    from console.app import LmxApp

    looks: dict[str, Any] = {
        "actor": terminal.actor,
        "theme": options.theme or settings.theme or ("ansi" if terminal.few_colours else None),
        "ascii_only": options.ascii or terminal.ascii_only,
        "no_color": terminal.no_color,
        "tmux": terminal.tmux,
        "refresh_hz": settings.refresh_hz,
        "keymap": settings.keymap,
        "version": program_version(),
    }
    if isinstance(found, attach.Found):
        face = found.face(terminal.actor)
        readonly = options.readonly or bool(found.status.get("readonly"))
        app = LmxApp(engine=face, attached=found.name, clock=face.clock, readonly=readonly, **looks)
    else:
        where = "" if options.no_api else options.api or settings.api
        app = LmxApp(
            engine=found,
            outlet=api_of(found, settings, options, where) if where else None,
            readonly=options.readonly,
            on_hangup=settings.on_hangup,
            may_detach=options.launch is not None,
            **looks,
        )
    return solitude.run(
        app,
        options.launch,
        mouse=terminal.mouse if options.mouse is None else options.mouse,
        logs=settings.home / "logs",
        drain_s=settings.deadlines.drain_s,
    )


def _to_attach_to(settings: "Settings", options: argparse.Namespace) -> "attach.Found | None":
    """The engine that was named, else the one that runs here; None where none does.

    Raises:
        HomeTaken: one runs here, and has no API or was not asked for.
        HomeUnusable: the home cannot be one.
        NoEngine, Refused, FaceMismatch: it cannot be attached to.
    """
    from engine import HomeTaken, check_home

    if options.attach:
        return attach.named(options.attach, options.key_file)
    try:
        check_home(settings.home)
    except HomeTaken as taken:
        if options.api or options.no_api or options.cluster:
            raise  # another API or cluster was wished for than that of the one that runs
        try:
            return attach.running(settings.home, options.key_file)
        except NoEngine as error:
            raise HomeTaken(f"{taken}; it cannot be attached to: {error}") from error
    return None
