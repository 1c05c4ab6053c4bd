"""``lmx explain``: the admission gate, without loading."""

import argparse
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, REFUSED, say, tell
from console.cli.gigabytes import gigabytes

if TYPE_CHECKING:
    from engine import Explanation, Settings


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("explain", help="run the admission gate without loading")
    parser.add_argument("models", nargs="+", metavar="MODEL_OR_PATH")
    parser.add_argument(
        "--allow-unsupported-runtime", action="store_true", help="as an override would see it"
    )
    parser.add_argument("--reserve-gb", type=gigabytes, help="state the memory it may take")
    parser.add_argument("--ranks", type=int, metavar="N", help="split among so many processes")
    parser.add_argument("--on", metavar="NAME", help="in this runtime of the settings")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Explain every model named; returns the exit code."""
    from engine import Inspection, LoadOptions

    asked = LoadOptions(
        runtime=options.on,
        allow_unsupported_runtime=options.allow_unsupported_runtime,
        reserve_gb=options.reserve_gb,
        ranks=options.ranks,
    )
    inspection = Inspection(settings)
    if inspection.complaint:
        tell(inspection.complaint)
    refused = False
    for explanation in inspection.explain(options.models, asked):
        refused |= not explanation.admitted
        if options.json:
            say(explanation.as_row())
        else:
            _print(explanation)
    return REFUSED if refused else DONE


def _print(explanation: "Explanation") -> None:
    decision = explanation.decision
    verdict = "admitted" if decision is None else f"refused: {decision.code}"
    print(f"{explanation.model_id}  {verdict}")
    for check in explanation.checks:
        print(f"  {check.result:<8} {check.check:<13} {check.found}")
        if check.result == "fail":
            print(f"  {'':<8} {'':<13} expected: {check.expected}")
    if decision is not None:
        print(f"  {decision.message}\n  next: {decision.remedy}")
