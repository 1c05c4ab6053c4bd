"""``lmx stop``: ends the engine of this home, whichever way it was started."""

import argparse
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, NO_ENGINE, REFUSED, complain, say, tell

if TYPE_CHECKING:
    from engine import Settings

LOOK_S = 0.1
MARGIN_S = 10.0
"""Beyond the drain, for workers to end and memory to come back."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("stop", help="end the engine of this home: lmx, serve or detached")
    parser.add_argument(
        "--now", action="store_true", help="without waiting for requests that are in flight"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Ask it to end and wait until it has; returns the exit code."""
    from engine import HomeTaken, check_home, read_engine

    try:
        check_home(settings.home)
    except HomeTaken as taken:
        about = read_engine(settings.home / "engine.json")
        if about is None:
            return complain(str(taken), REFUSED)
    else:
        return complain(f"no engine runs in {settings.home}", NO_ENGINE)
    pid = about[0]
    try:
        os.kill(pid, signal.SIGTERM)
        if options.now:
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended this very moment
    except PermissionError:
        return complain(f"process {pid} is another user's", REFUSED)
    until = time.monotonic() + settings.deadlines.drain_s + MARGIN_S
    while time.monotonic() < until:
        try:
            check_home(settings.home)
        except HomeTaken:
            time.sleep(LOOK_S)
            continue
        if options.json:
            say({"pid": pid, "stopped": True})
        tell(f"the engine of {settings.home} (process {pid}) has ended")
        return DONE
    return complain(f"process {pid} has not ended yet", REFUSED)
