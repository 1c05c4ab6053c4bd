"""Whether a console that works for hours grows.

Run with ``python -m tests.benchmarks.growth --minutes 120``; the two minutes of the default only
show that it runs. A real ``lmx`` with its engine and its API in a pseudo-terminal, under a small
load of every kind (see ``growth_load``); its event ring holds 300, so that it wraps within minutes.
Every minute what it holds is written as one line, and as JSON to ``--state``, so that an
interrupted run still tells: ``--read FILE`` judges such a file.

Growth is a line through the lowest values of each tenth of the second half that rises faster than
``BARS`` allow, by more than two standard errors of its slope: lowest values, because memory that is
used and given back is none; the second half, because Textual's caches, each bounded, take some
hundred screens to fill. The registry, the event log and the requests a model died of (500 at most)
grow on disk by design, and are told without a bar.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.console_line import port_of
from tests.benchmarks.growth_load import Load, in_background, write_models
from tests.benchmarks.report import Report, at_most, rounded
from tests.console.pty.conftest import Terminal, surroundings

TAKES_S = 125
SHORTEST_MIN = 30.0
"""A shorter run is told without a bar: everything grows while it warms up."""
PARTS = 10
MANY = 100
"""A type with so many more objects at the end is named when something grew."""
BARS = {
    "private_mb": 1.0,
    "rss_mb": 1.0,
    "descriptors": 1.0,
    "threads": 1.0,
    "tasks": 1.0,
    "objects": 2000.0,
    "children": 1.0,
    "worker_mb": 1.0,
}
"""What may be added an hour. Objects are those the collector knows; 2,000 are about 0.3 MB."""
COMMAND = (sys.executable, "-m", "tests.benchmarks.probed_console")

Sample = dict[str, Any]


def probe(terminal: Terminal, path: Path) -> Sample:
    """What the console says of itself; empty when it does not answer."""
    path.unlink(missing_ok=True)
    terminal.console().send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists():
            found: Sample = json.loads(path.read_text())
            return found
        time.sleep(0.05)
    return {}


def private_bytes(process: psutil.Process) -> int:
    """Memory that is this process's alone: file pages come and go with the machine's mood."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def oldest_worker_mb(terminal: Terminal) -> float:
    """The memory of the worker that has lived longest, in megabytes."""
    workers = sorted(terminal.workers(), key=lambda worker: worker.create_time())
    try:
        return private_bytes(workers[0]) / 1e6 if workers else 0.0
    except psutil.NoSuchProcess:
        return 0.0


def sample(terminal: Terminal, folder: Path, began: float) -> Sample:
    """Everything that might grow, now."""
    process = terminal.console()
    files = {p: p.stat().st_size for p in (folder / "home").rglob("*") if p.is_file()}
    sizes = {path.name: size for path, size in files.items()}
    return {
        "minute": round((time.monotonic() - began) / 60, 2),
        "rss_mb": round(process.memory_info().rss / 1e6, 2),
        "private_mb": round(private_bytes(process) / 1e6, 2),
        "descriptors": process.num_fds(),
        "children": len(process.children(recursive=True)),
        "worker_mb": round(oldest_worker_mb(terminal), 2),
        "cpu_s": round(sum(process.cpu_times()[:2]), 2),
        "home_kb": round(sum(files.values()) / 1e3, 1),
        "home_files": len(files),
        "state_kb": round(sizes.get("state.json", 0) / 1e3, 1),
        "registry_kb": round(sizes.get("compatibility-registry.json", 0) / 1e3, 1),
        "events_kb": round(sizes.get("events.jsonl", 0) / 1e3, 1),
        "terminal_kb": round(len(terminal.received) / 1e3, 1),
    } | probe(terminal, folder / "probe.json")


@dataclass(frozen=True, slots=True)
class Trend:
    """How something changes."""

    per_hour: float
    error: float
    """Standard error of the slope."""
    lowest: float
    highest: float

    def grows(self, bar: float) -> bool:
        """More than ``bar`` an hour, and more than chance."""
        return self.per_hour > bar and self.per_hour - 2 * self.error > 0


def trend(minutes: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through the lowest value of each part of the time."""
    first, last = minutes[0], minutes[-1]
    parts: dict[int, tuple[float, float]] = {}
    for minute, value in zip(minutes, values, strict=True):
        part = min(int((minute - first) / max(last - first, 1e-9) * PARTS), PARTS - 1)
        if part not in parts or value < parts[part][1]:
            parts[part] = (minute / 60, value)
    if len(parts) < 3:
        return Trend(0.0, float("inf"), min(values), max(values))
    hours, floor = zip(*parts.values(), strict=True)
    slope, start = statistics.linear_regression(hours, floor)
    left = sum((y - start - slope * x) ** 2 for x, y in parts.values())
    spread = sum((x - statistics.fmean(hours)) ** 2 for x in hours)
    return Trend(slope, (left / (len(hours) - 2) / spread) ** 0.5, min(values), max(values))


def judge(samples: Sequence[Sample]) -> int:
    """Tell of everything whether it grew; returns 1 if something did, 2 if nobody can say."""
    length = samples[-1]["minute"] if samples else 0.0
    after = [one for one in samples if one["minute"] >= length / 2]
    if len(after) < PARTS:
        print("too short to tell")
        return 2
    report = Report()
    for name, bar in BARS.items():
        known = [(one["minute"], one[name]) for one in after if name in one]
        if not known:
            print(f"{name}: not to be had")
            continue
        found = trend(*zip(*known, strict=True))
        slope = f"{rounded(found.per_hour)} ± {rounded(found.error)} an hour"
        span = f"{rounded(found.lowest)} to {rounded(found.highest)}"
        what = f"{name} over {length:.0f} minutes"
        if length < SHORTEST_MIN:
            report.add(what, slope, span)
        else:
            kept = not found.grows(bar)
            report.add(what, slope, span, bar=f"{at_most(bar)} an hour", kept=kept)
    for name in ("state_kb", "registry_kb", "events_kb", "terminal_kb", "cpu_s"):
        each = (after[-1][name] - after[0][name]) / (after[-1]["minute"] - after[0]["minute"])
        report.add(name, f"{rounded(each * 60)} an hour, by design")
    if report.status:
        for kind, there in after[-1].get("types", {}).items():
            if (more := there - after[0].get("types", {}).get(kind, there)) > MANY:
                print(f"  {more:+,} {kind}")
    return report.status


def watch(minutes: float, folder: Path, state: Path, pace: float) -> list[Sample]:
    """Run for so long, or until interrupted, and write down what was seen."""
    samples: list[Sample] = []
    write_models(folder)
    more = {
        "LMX_PROBE": str(folder / "probe.json"),
        "LMX_EVENTS_KEPT": "300",
        "LMX_QUARANTINING__COOL_DOWN_MAX_S": "30",
    }
    terminal = Terminal(surroundings(folder) | more, (120, 36), [], COMMAND)
    try:
        terminal.wait_for("aa-steady", "unloaded")
        load = Load(terminal, port_of(folder), pace)
        end = in_background(load)
        began = time.monotonic()
        period = min(60.0, minutes * 60 / 30)
        with state.open("w") as file:
            while (time.monotonic() - began) < minutes * 60:
                time.sleep(max(began + period * (len(samples) + 1) - time.monotonic(), 0.1))
                samples.append(sample(terminal, folder, began) | {"done": dict(load.done)})
                file.write(json.dumps(samples[-1]) + "\n")
                file.flush()
                shown = {k: v for k, v in samples[-1].items() if k not in ("types", "done")}
                print(*(f"{name} {value}" for name, value in shown.items()), flush=True)
        end()
        print("done:", dict(load.done))
    except KeyboardInterrupt:
        print("interrupted")
    except psutil.NoSuchProcess:
        print(f"the console ended by itself; the screen was\n{terminal.text}")
        samples.clear()
    finally:
        terminal.close()
    return samples


def main() -> int:
    """Watch, print, and return 1 when something grows."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir(), "growth.jsonl"))
    parser.add_argument("--read", type=Path, help="judge what an earlier run wrote")
    parser.add_argument("--pace", type=float, default=1.0, help="how much faster things are done")
    asked = parser.parse_args()
    if asked.read:
        return judge([json.loads(line) for line in asked.read.read_text().splitlines()])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"takes {asked.minutes:g} minutes; process {os.getpid()}, state in {asked.state}")
    with tempfile.TemporaryDirectory(prefix="lmx-growth-") as place:
        folder = Path(place)
        for name in ("models", "none"):
            (folder / name).mkdir()
        return judge(watch(asked.minutes, folder, asked.state, asked.pace))


if __name__ == "__main__":
    sys.exit(main())
