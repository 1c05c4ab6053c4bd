"""``lmx canary``: proves models on a runtime, one after another: on the engine that runs here, or
with one of its own.
"""

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from console.cli.answer import (
    DONE,
    INTERRUPTED,
    NO_ENGINE,
    REFUSED,
    USAGE,
    complain,
    say,
    table,
    tell,
)
from console.cli.trial import chosen, prove, running_engine

if TYPE_CHECKING:
    from console.cli.client import Client
    from engine import Engine, Settings, Trial, Trials


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("canary", help="load, prove and unload models, one by one")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--all", action="store_true", help="every model the runtime is for")
    parser.add_argument("--on", metavar="NAME", help="a runtime of the settings")
    parser.add_argument("--url", help="an engine elsewhere; default: LMX_URL, then this home's")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Prove the models and print what came of each; returns the exit code."""
    if bool(options.models) is options.all:
        return complain("name the models to prove, or say --all", USAGE)
    if (running := running_engine(options.url or os.environ.get("LMX_URL"))) is not None:
        return _ask(running, options)
    return _run_own(settings, options)


def _ask(running: "Client", options: argparse.Namespace) -> int:
    trials: list[Trial] = []
    try:
        models = chosen(running, options)
        for trial in prove(running, models, options):
            trials.append(trial)
            _tell(trials, len(models), options)
    except KeyboardInterrupt:
        _conclude(trials, options)
        return complain("interrupted; the engine ends the trial under way", INTERRUPTED)
    _conclude(trials, options)
    return _verdict(trials, options)


def _run_own(settings: "Settings", options: argparse.Namespace) -> int:
    from engine import Engine, HomeTaken, HomeUnusable

    names = {"default", *settings.runtimes}
    if options.on is not None and options.on not in names:
        known = ", ".join(sorted(names))
        return complain(f"no runtime named {options.on!r}; there are: {known}", USAGE)
    # Whatever is to be loaded at the start of a console is no business of a trial.
    engine = Engine(settings.without_preload().model_copy(update={"spare": False}))
    trials: list[Trial] = []
    try:
        asyncio.run(_prove(engine, settings, options, trials))
    except HomeTaken as error:
        return complain(f"{error}; end it first, or prove models from its console", NO_ENGINE)
    except HomeUnusable as error:
        return complain(str(error), REFUSED)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _conclude(trials, options)
        return complain("interrupted; the model under trial was unloaded", INTERRUPTED)
    _conclude(trials, options)
    return _verdict(trials, options)


def _verdict(trials: "list[Trial]", options: argparse.Namespace) -> int:
    failed = any(trial.outcome == "failed" for trial in trials)
    # Who names a model wants to know that it was not even tried.
    untried = options.models and any(trial.outcome == "never_tried" for trial in trials)
    return REFUSED if failed or untried else DONE


async def _prove(
    engine: "Engine", settings: "Settings", options: argparse.Namespace, trials: "list[Trial]"
) -> None:
    from console.terminal import read_terminal
    from engine import Archive, Trials

    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await engine.start()
        work = Trials(
            engine,
            Archive(settings),
            actor=read_terminal().actor,
            runtime=options.on,
            slower_factor=settings.canary.slower_factor,
        )
        await _each(work, options, trials)
    finally:
        await engine.stop()


async def _each(work: "Trials", options: argparse.Namespace, trials: "list[Trial]") -> None:
    names = work.every_model() if options.all else tuple(dict.fromkeys(options.models))
    async for trial in work.run(names, spare_unclean=options.all):
        trials.append(trial)
        _tell(trials, len(names), options)


def _tell(trials: "list[Trial]", of: int, options: argparse.Namespace) -> None:
    trial = trials[-1]
    if options.json:
        say(_row(trial))
    speed = f", {trial.tokens_per_second:.1f} tok/s" if trial.tokens_per_second else ""
    print(f"{len(trials)}/{of} {trial.model_id}: {_word(trial)}{speed}", file=sys.stderr)


def _row(trial: "Trial") -> dict[str, object]:
    fields = asdict(trial)
    return {"model": fields.pop("model_id"), **fields}


def _word(trial: "Trial") -> str:
    return "passed, slower" if trial.slower else trial.outcome.value.replace("_", " ")


def _conclude(trials: "list[Trial]", options: argparse.Namespace) -> None:
    if trials and not options.json:
        table(
            ("MODEL", "RUNTIME", "RESULT", "TOK/S", "BEFORE", "WHY"),
            [
                (
                    trial.model_id,
                    trial.runtime,
                    _word(trial),
                    f"{trial.tokens_per_second:.1f}" if trial.tokens_per_second else "",
                    f"{trial.before:.1f} ({trial.before_version})" if trial.before else "",
                    trial.reason,
                )
                for trial in trials
            ],
        )
    count = {word: sum(t.outcome == word for t in trials) for word in ("passed", "failed")}
    slower = sum(trial.slower for trial in trials)
    never = len(trials) - sum(count.values())
    tell(
        f"{count['passed']} passed ({slower} slower than before), {count['failed']} failed, "
        f"{never} never tried"
    )
