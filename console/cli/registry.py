"""``lmx registry``: what passed and failed here, and the way of that knowledge between hosts."""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, REFUSED, complain, say, table, tell

if TYPE_CHECKING:
    from engine import Archive, Settings

_AGO = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_to(commands: Any) -> None:
    """Declare the command and what may be asked of it."""
    parser = commands.add_parser("registry", help="what passed and failed on this host")
    asked = parser.add_subparsers(dest="asked", metavar="ACTION", required=True)

    def action(name: str, words: str, answer: "Callable[[Archive, Any], int]") -> Any:
        added = asked.add_parser(name, help=words)
        added.add_argument("--json", action="store_true", help="one JSON object per line")
        added.set_defaults(run=run, answer=answer)
        return added

    rows = action("list", "the rows, newest first", _list)
    rows.add_argument("--model", metavar="ID")
    rows.add_argument("--backend", choices=("gguf", "mlx", "simulated"))
    rows.add_argument("--outcome", choices=("pass", "fail"))
    rows.add_argument(
        "--since", type=moment, metavar="WHEN", help="2026-11-23, 36h, 7d, or Unix seconds"
    )
    rows.add_argument("--limit", type=_count, metavar="N")
    action("summary", "how every model has fared", _summary)
    export = action("export", "write all rows, with this host as their origin", _export)
    export.add_argument("file", metavar="FILE", help="a file, or - for stdout")
    merge = action("import", "take in another host's export, as evidence", _import)
    merge.add_argument("file", type=Path, metavar="FILE")
    merge.add_argument("--origin", metavar="HOST", help="whose rows they are, where they name none")
    action("verify", "find damage and salvage what is whole", _verify)


def moment(text: str, now: float | None = None) -> float:
    """A moment in Unix seconds, of a date and time, of a span before now, or of such seconds."""
    if match := _AGO.fullmatch(text):
        return (time.time() if now is None else now) - int(match[1]) * _SECONDS[match[2]]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a date nor a span") from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count")
    return int(text)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Answer one question about the registry; returns the exit code."""
    from engine import Archive, ArchiveTrouble, RegistryTrouble

    archive = Archive(settings)
    try:
        if options.answer is not _verify:
            for warning in archive.warnings:
                tell(warning)
        return int(options.answer(archive, options))
    except (ArchiveTrouble, RegistryTrouble) as trouble:
        return complain(str(trouble), REFUSED)


def _list(archive: "Archive", options: argparse.Namespace) -> int:
    rows = archive.rows(
        options.model, options.backend, options.outcome, options.since, options.limit
    )
    for row in rows:
        if options.json:
            say(asdict(row))
            continue
        when = _when(row.ts)
        origin = row.metadata.get("origin")
        where = f"  (from {origin})" if origin else ""
        print(f"{when}  {row.outcome}  {row.model_id}  {row.backend_version}  {row.reason}{where}")
    if not rows and not options.json:
        tell("no such rows")
    return DONE


def _when(ts: float) -> str:
    try:
        return datetime.fromtimestamp(ts).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a clock that was far off
        return f"{ts:.0f}"


def _summary(archive: "Archive", options: argparse.Namespace) -> int:
    summary = archive.summary()
    if options.json:
        for model_id, tally in summary.items():
            say({"model_id": model_id, **tally.as_dict()})
    elif summary:
        table(
            ("MODEL", "ROWS", "PASS", "FAIL", "LATEST"),
            [
                (model_id, str(t.total), str(t.passed), str(t.failed), _when(t.latest_ts))
                for model_id, t in summary.items()
            ],
        )
    else:
        tell("nothing was tried here yet")
    return DONE


def _export(archive: "Archive", options: argparse.Namespace) -> int:
    if options.file == "-":
        data, count = archive.exported()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        count = archive.export_to(Path(options.file))
        if options.json:
            say({"file": options.file, "rows": count, "host": archive.host})
    tell(f"{count:,} rows exported, origin {archive.host}")
    return DONE


def _import(archive: "Archive", options: argparse.Namespace) -> int:
    merged = archive.merge(options.file, options.origin)
    if options.json:
        say({"file": str(options.file), **asdict(merged)})
    tell(f"{merged.added:,} rows taken in, {merged.known:,} were here already")
    if merged.added and set(merged.origins) - {archive.host}:
        tell("rows of other hosts are evidence: they are listed, and decide nothing here")
    if merged.refused or merged.damaged:
        return complain(
            f"{merged.refused:,} rows of a kind unknown here and {merged.damaged:,} damaged "
            "pieces were left out",
            REFUSED,
        )
    return DONE


def _verify(archive: "Archive", options: argparse.Namespace) -> int:
    found = archive.verify()
    if options.json:
        say({"sound": found.sound, **asdict(found)})
    else:
        print(f"{found.path}: {found.rows:,} whole rows, {found.imported:,} of other hosts")
        if found.unknown:
            print(f"{found.unknown:,} of a kind unknown to this version, kept as they are")
    for words in found.damage:
        tell(words)
    for path in found.kept_in:
        tell(f"{found.damaged_bytes:,} damaged bytes are kept in {path}")
    for path in found.earlier:
        tell(f"damaged bytes of an earlier time are in {path}")
    if found.trouble:
        tell(found.trouble)
    return DONE if found.sound else REFUSED
