"""``lmx doctor``: what works on this host, and what does not."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, REFUSED, say

if TYPE_CHECKING:
    from engine import Settings


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", help="what works on this host, and what does not")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Import every backend of every runtime in a child and say how it went."""
    from engine import Inspection

    inspection = Inspection(settings)
    runtimes = inspection.tried_runtimes()
    for runtime in runtimes:
        if options.json:
            say(asdict(runtime))
        else:
            state = runtime.error or runtime.version
            print(f"{runtime.backend:<10} {runtime.name:<12} {state}")
    if not options.json:
        print(f"{'home':<10} {settings.home}")
        print(f"{'models':<10} {len(inspection.models())} found")
    return REFUSED if any(runtime.error for runtime in runtimes) else DONE
