"""``lmx serve``: the engine and its API without a screen; what happens is told on stderr."""

import argparse
import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from console.cli import cluster
from console.cli.answer import DONE, REFUSED, USAGE, complain, tell
from console.cli.ending import end, listen
from console.cli.herald import Herald
from console.cli.household import api_of, own_engine

if TYPE_CHECKING:
    from console.outlet import ApiOutlet
    from engine import Engine, Event, Settings

LOOK_S = 0.2
"""How often the event log is looked at for more to tell."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="the engine and its API, without a screen")
    parser.add_argument(
        "--api",
        metavar="HOST:PORT",
        type=address,
        default=argparse.SUPPRESS,
        help="where it answers",
    )
    parser.add_argument(
        "--readonly", action="store_true", default=argparse.SUPPRESS, help="change nothing"
    )
    cluster.add_to(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def address(text: str) -> str:
    """An address on the command line."""
    from engine import parse_address

    try:
        return str(parse_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit code."""
    from engine import ClusterTrouble, HomeTaken, HomeUnusable

    where = options.api or settings.api
    if not where:
        return complain("the setting api is empty; say where with --api HOST:PORT", USAGE)
    try:
        engine = own_engine(settings, options)
    except ClusterTrouble as trouble:
        return complain(str(trouble), USAGE)
    outlet = api_of(engine, settings, options, where)
    try:
        return asyncio.run(_serve(engine, outlet, settings.deadlines.drain_s))
    except (HomeTaken, HomeUnusable, ClusterTrouble) as error:
        return complain(str(error), REFUSED)


async def _serve(engine: "Engine", outlet: "ApiOutlet", drain_s: float) -> int:
    from engine import ApiMisconfigured

    herald = Herald()
    ending, hurrying = listen()
    teller = asyncio.create_task(_tell_all(engine))
    code = DONE
    try:
        await engine.start()
        trouble = await outlet.open()
        if trouble is None:
            tell(f"serving at http://{engine.snapshot().api}; the docs are at /docs")
            herald.ready(f"serving at {engine.snapshot().api}")
            await ending.wait()
            herald.stopping(f"requests in flight have {drain_s:g} s")
            tell(f"ending; requests in flight have {drain_s:g} s, or signal again")
        else:
            code = complain(
                str(trouble), USAGE if isinstance(trouble, ApiMisconfigured) else REFUSED
            )
            drain_s = 0.0
    finally:
        await end(engine, outlet, drain_s, hurrying)
        teller.cancel()
        with suppress(asyncio.CancelledError):
            await teller
    return code


async def _tell_all(engine: "Engine") -> None:
    """Tell each event of this engine's life as it comes, until cancelled; then the last ones."""
    after = 0
    try:
        while True:
            after = _tell_new(engine, after)
            await asyncio.sleep(LOOK_S)
    finally:
        _tell_new(engine, after)


def _tell_new(engine: "Engine", after: int) -> int:
    events = engine.events(after)
    if not after:  # the log remembers earlier lives
        starts = [event.seq for event in events if event.kind == "engine_started"]
        events = tuple(event for event in events if starts and event.seq >= starts[-1])
    for event in events:
        after = event.seq
        print(_line(event), file=sys.stderr, flush=True)
    return after


def _line(event: "Event") -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(event.ts))
    about = f"{event.model_id}: " if event.model_id else ""
    who = f" ({event.actor})" if event.actor not in ("", "engine", "api") else ""
    return f"{when} {event.level:<5} {event.kind} {about}{event.message}{who}"
