"""``lmx models``: what is on disk."""

import argparse
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, say, tell
from console.units import size_text

if TYPE_CHECKING:
    from engine import Settings


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("models", help="list the models on disk")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Print one line per model; returns the exit code."""
    from engine import Inspection

    entries = Inspection(settings).models()
    for entry in entries:
        if options.json:
            say(
                {
                    "id": entry.id,
                    "path": str(entry.path),
                    "backend": entry.backend,
                    "weight_bytes": entry.weight_bytes,
                    "architecture": entry.architecture,
                    "quantisation": entry.quantisation,
                }
            )
        else:
            weight = size_text(entry.weight_bytes)
            print(f"{entry.id:<48} {entry.backend:<9} {weight:>8}  {entry.quantisation}")
    if not entries:
        tell("no models found; `lmx doctor` says where was looked")
    return DONE
