"""The ``lmx`` command. Textual is imported only to open the console itself: a script that asks
``lmx models`` a hundred times should not pay for a screen a hundred times.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from console.units import size_text

if TYPE_CHECKING:
    from engine import Explanation, Settings

DONE, REFUSED, USAGE, NO_ENGINE = 0, 1, 2, 3
"""Exit codes: done, refused, wrong usage, no engine to ask."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    from engine import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        return _complain(str(error), USAGE)
    try:
        command = {
            None: _console,
            "models": _models,
            "explain": _explain,
            "doctor": _doctor,
        }[options.command]
        return command(settings, options)
    except BrokenPipeError:  # `lmx models | head`
        sys.stderr.close()
        return DONE


def program_version() -> str:
    """The installed version, or ``0`` in a bare checkout."""
    try:
        return version("opta-lmx")
    except PackageNotFoundError:
        return "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmx",
        description="Operator console for local language models. Without a command: the console.",
    )
    parser.add_argument("--version", action="version", version=f"lmx {program_version()}")
    parser.add_argument("--readonly", action="store_true", help="look, change nothing")
    parser.add_argument("--theme", help="dark, light, ansi, or a Textual theme")
    parser.add_argument("--ascii", action="store_true", help="plain ASCII glyphs and borders")
    parser.add_argument(
        "--mouse", action=argparse.BooleanOptionalAction, help="mouse; default: off over SSH"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    models = commands.add_parser("models", help="list the models on disk")
    explain = commands.add_parser("explain", help="run the admission gate without loading")
    explain.add_argument("models", nargs="+", metavar="MODEL_OR_PATH")
    explain.add_argument(
        "--allow-unsupported-runtime", action="store_true", help="as an override would see it"
    )
    explain.add_argument("--reserve-gb", type=float, help="state the memory it may take")
    doctor = commands.add_parser("doctor", help="what works on this host, and what does not")
    for command in (models, explain, doctor):
        command.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser


def _complain(text: str, code: int) -> int:
    print(f"lmx: {text}", file=sys.stderr)
    return code


def _say(row: object) -> None:
    print(json.dumps(row, default=str))


def _console(settings: "Settings", options: argparse.Namespace) -> int:
    from console.terminal import read_terminal
    from engine import Engine, HomeTaken, HomeUnusable, check_home

    terminal = read_terminal()
    if not terminal.usable:
        why = "TERM is dumb" if terminal.tty else "this is no terminal"
        return _complain(f"the console needs a terminal, and {why}; try `lmx models`", USAGE)
    try:
        check_home(settings.home)
    except (HomeTaken, HomeUnusable) as error:
        return _complain(str(error), REFUSED)

    from console.app import LmxApp

    app = LmxApp(
        engine=Engine(settings),
        actor=terminal.actor,
        readonly=options.readonly,
        theme=options.theme or settings.theme,
        ascii_only=options.ascii or terminal.ascii_only,
        no_color=terminal.no_color,
        tmux=terminal.tmux,
        refresh_hz=settings.refresh_hz,
        keymap=settings.keymap,
        version=program_version(),
    )
    app.run(mouse=terminal.mouse if options.mouse is None else options.mouse)
    return app.return_code or DONE


def _models(settings: "Settings", options: argparse.Namespace) -> int:
    from engine import Inspection

    entries = Inspection(settings).models()
    for entry in entries:
        if options.json:
            _say(
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
        print("no models found; `lmx doctor` says where was looked", file=sys.stderr)
    return DONE


def _explain(settings: "Settings", options: argparse.Namespace) -> int:
    from engine import Inspection, LoadOptions

    asked = LoadOptions(
        allow_unsupported_runtime=options.allow_unsupported_runtime, reserve_gb=options.reserve_gb
    )
    inspection = Inspection(settings)
    if inspection.complaint:
        print(f"lmx: {inspection.complaint}", file=sys.stderr)
    refused = False
    for explanation in inspection.explain(options.models, asked):
        refused |= not explanation.admitted
        if options.json:
            _say(explanation_row(explanation))
        else:
            _print_explanation(explanation)
    return REFUSED if refused else DONE


def explanation_row(explanation: "Explanation") -> dict[str, object]:
    """The contract of ``lmx explain --json``, one object per model."""
    decision = explanation.decision
    return {
        "model": explanation.model_id,
        "path": explanation.path,
        "admitted": explanation.admitted,
        "code": decision.code if decision else None,
        "check": decision.check if decision else None,
        "message": decision.message if decision else "",
        "remedy": decision.remedy if decision else "",
        "overridable": decision.overridable if decision else False,
        "checks": [
            {"check": c.check, "result": c.result, "expected": c.expected, "found": c.found}
            for c in explanation.checks
        ],
    }


def _print_explanation(explanation: "Explanation") -> None:
    decision = explanation.decision
    verdict = "admitted" if decision is None else f"refused: {decision.code}"
    print(f"{explanation.model_id}  {verdict}")
    for check in explanation.checks:
        print(f"  {check.result:<8} {check.check:<13} {check.found}")
        if check.result == "fail":
            print(f"  {'':<8} {'':<13} expected: {check.expected}")
    if decision is not None:
        print(f"  {decision.message}\n  next: {decision.remedy}")


def _doctor(settings: "Settings", options: argparse.Namespace) -> int:
    from engine import Inspection

    inspection = Inspection(settings)
    for runtime in inspection.runtimes():
        if options.json:
            _say(asdict(runtime))
        else:
            state = runtime.error or runtime.version
            print(f"{runtime.backend:<10} {runtime.name:<12} {state}")
    if not options.json:
        print(f"{'home':<10} {settings.home}")
        print(f"{'models':<10} {len(inspection.models())} found")
    return REFUSED if any(runtime.error for runtime in inspection.runtimes()) else DONE
