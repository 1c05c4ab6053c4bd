"""Proving models on an engine that runs already: it is asked, instead of starting another."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from console.cli.client import Client, NoEngine, Refused, find_engine

if TYPE_CHECKING:
    from engine import Trial


def running_engine(url: str | None) -> Client | None:
    """The engine to ask, or None where this home has none that answers.

    Raises:
        NoEngine: one was named, and does not answer.
    """
    try:
        engine = find_engine(url)
        engine.get("/admin/status")
    except NoEngine:
        if url:
            raise
        return None
    return engine


def chosen(engine: Client, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The models to prove, as the engine knows them; a name nobody knows has only its ``id``."""
    known = {model["id"]: model for model in engine.get("/admin/models/available")["models"]}
    if not options.all:
        return [known.get(name, {"id": name}) for name in dict.fromkeys(options.models)]
    runtimes = engine.get("/admin/status")["runtimes"]
    backends = {r["backend"] for r in runtimes if options.on in (None, r["name"])}
    return [model for model in known.values() if model["backend"] in backends]


def prove(
    engine: Client, models: list[dict[str, Any]], options: argparse.Namespace
) -> Iterator["Trial"]:
    """Have each model proved, one after another; each is told as it ends."""
    from engine import Outcome, Trial

    for model in models:
        name = model["id"]
        if options.all and model.get("unclean"):
            why = "the machine went down while it was loaded"
            yield Trial(name, Outcome.NEVER_TRIED, model["backend"], model["runtime"], reason=why)
            continue
        body = {"model_id": name, "load": True} | ({"runtime": options.on} if options.on else {})
        try:
            rows = engine.post("/admin/models/canary", body)["trials"]
        except Refused as refused:
            said = refused.error
            yield Trial(name, Outcome.NEVER_TRIED, reason=said["message"], code=str(said["code"]))
            continue
        for row in rows:  # of a model with copies on several hosts, one for each that is loaded
            row["outcome"] = Outcome(row["outcome"])
            yield Trial(row.pop("model"), **row)
