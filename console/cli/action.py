"""``lmx load``, ``unload``, ``release`` and ``hold``: what a running engine is told to do."""

import argparse
from typing import Any

from console.cli import client
from console.cli.client import find_engine
from console.cli.gigabytes import gigabytes


def add_to(commands: Any) -> None:
    """Declare the four commands."""
    load = _action(commands, "load", "load a model and wait until it has proved itself")
    load.add_argument("--allow-unsupported-runtime", action="store_true", help="on the record")
    load.add_argument("--reserve-gb", type=gigabytes, help="state the memory it may take")
    load.add_argument("--context", type=int, help="context length in tokens")
    load.add_argument("--keep-alive", type=float, metavar="SECONDS", help="unload when idle")
    load.add_argument("--ranks", type=int, metavar="N", help="split it among so many processes")
    load.add_argument("--on", metavar="NAME", help="in this runtime of the settings")
    load.add_argument("--host", metavar="NAME", help="on this host of the cluster")
    load.add_argument("--replicas", type=int, metavar="N", help="on so many hosts of the cluster")
    load.add_argument("--no-wait", action="store_true", help="return once it is admitted")
    _action(commands, "unload", "let its requests end, then end its worker")
    release = _action(commands, "release", "let a quarantined model try again")
    release.add_argument("--early", action="store_true", help="before its cool-down is over")
    release.add_argument("--allow-unsupported-runtime", action="store_true", help="on the record")
    release.add_argument("--no-wait", action="store_true", help="return once it is admitted")
    _action(commands, "hold", "quarantine a model by hand")


def _action(commands: Any, name: str, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words)
    parser.add_argument("model", metavar="MODEL")
    client.add_to(parser, _act)
    return parser


_FIELDS = {
    "allow_unsupported_runtime": "allow_unsupported_runtime",
    "reserve_gb": "reserve_gb",
    "ranks": "ranks",
    "context": "context",
    "keep_alive": "keep_alive_sec",
    "on": "runtime",
    "host": "host",
    "replicas": "replicas",
    "early": "early",
}


def _act(options: argparse.Namespace) -> int:
    body: dict[str, Any] = {"model_id": options.model}
    for option, name in _FIELDS.items():
        if (value := getattr(options, option, None)) not in (None, False):
            body[name] = value
    if getattr(options, "no_wait", False):
        body["wait"] = False
    answer = find_engine(options.url).post(f"/admin/models/{options.command}", body)
    state = answer["readiness"]["state"]
    names = ", ".join(answer.get("touched") or (answer["model_id"],))
    verb = "are" if len(answer.get("touched", ())) > 1 else "is"
    return client.done(answer, f"{names} {verb} {state}", as_json=options.json)
