"""``lmx status``: how the running engine is."""

import argparse
from typing import Any

from console.cli import client
from console.cli.answer import DONE, say, table
from console.cli.client import find_engine, shown
from console.units import size_text


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("status", help="how the running engine is")
    client.add_to(parser, _status)


def _status(options: argparse.Namespace) -> int:
    engine = find_engine(options.url)
    status = engine.get("/admin/status")
    loaded = engine.get("/admin/models")["loaded"]
    if options.json:
        say(status | {"loaded": loaded})
        return DONE
    memory = status["memory"]
    ready = "ready" if status["ready"] else f"not ready: {status['reason']}"
    only = ", read-only" if status["readonly"] else ""
    where = f"http://{status['api']}  process {status['pid']}{only}"
    print(shown(f"{status['host']}  {where}  {ready}"))
    reserved, budget = size_text(memory["reserved"]), size_text(memory["budget"])
    print(f"{reserved} of {budget} reserved, {size_text(memory['available'])} free")
    for notice in status["notices"]:
        print(shown(f"! {notice['message']}"))
    if loaded:
        head = ("MODEL", "ON", "MEM", "STATE", "STRIKES", "REQUESTS", "TOK/S", "WHY")
        table(head, [tuple(map(shown, _row(model))) for model in loaded])
    return DONE


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    readiness, speed = model["readiness"], model["tokens_per_second"]
    memory = model["measured_bytes"] or (model["estimate"] or {}).get("weights") or 0
    return (
        model["id"],
        model["backend"],
        size_text(memory) if memory else "",
        readiness["state"] + (" OVERRIDE" if readiness["override"] else ""),
        str(readiness["strikes"] or ""),
        str(model["requests"] or ""),
        f"{speed:.1f}" if speed else "",
        readiness["reason"],
    )
