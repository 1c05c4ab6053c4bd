"""What the real console costs the line and the processor, from outside: a pseudo-terminal of 80x24.

Run with ``python -m tests.benchmarks.console_line``. Bars are those of the design, section 6: first
paint 0.6 s; idle 200 B/s and 0.5 % of a core; a changed row 250 B; with 20 models changing 2,000
B/s; a key painted within 50 ms at the 99th percentile while 8 streams run.
"""

import asyncio
import http.client
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.benchmarks.cpu import cpu_s
from tests.benchmarks.load_client import ask_all
from tests.benchmarks.report import Report, at_most
from tests.console.pty.conftest import Terminal, surroundings, write_simulated
from tests.end_to_end.served import Served, environment

TAKES_S = 130
SIZE = (80, 24)
SETTLE_S, IDLE_S, WINDOWS, BUSY_S = 3.0, 10.0, 3, 8.0
MODELS, STREAMS, PRESSES = 20, 8, 100
FIRST_BAR_S, IDLE_BAR, CPU_BAR, ROW_BAR, MANY_BAR, KEY_BAR_MS = 0.6, 200, 0.5, 250, 2000, 50


@contextmanager
def console(folder: Path, **environment: str) -> Iterator[Terminal]:
    """A console on the models of a folder; gone with its engine at the end, or the next one on the
    same home would find it there and attach to it."""
    terminal = Terminal(surroundings(folder) | environment, SIZE, [])
    try:
        yield terminal
    finally:
        try:
            own = [terminal.console()]
        except (psutil.NoSuchProcess, ValueError):
            own = []
        terminal.close()
        psutil.wait_procs(own, timeout=20)


def port_of(folder: Path) -> int:
    """Where this console's API answers; it opens after the first paint."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = json.loads((folder / "home" / "engine.json").read_text())["address"]
        if told:
            return int(str(told).rpartition(":")[2])
        time.sleep(0.05)
    raise SystemExit("its API never opened")


def load(port: int, model_id: str) -> None:
    """Have a model loaded, and wait until it is routable or refused, or the console has ended."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps({"model_id": model_id})
    with suppress(OSError, http.client.HTTPException):
        client.request("POST", "/admin/models/load", body, {"Content-Type": "application/json"})
        client.getresponse().read()
    client.close()


def rate(terminal: Terminal, seconds: float) -> float:
    """Bytes a second over so many seconds."""
    before = len(terminal.received)
    time.sleep(seconds)
    return (len(terminal.received) - before) / seconds


def first_paint(report: Report, folder: Path) -> None:
    """From the start of the process to the first line on screen, the median of five."""
    times, used = [], []
    for _ in range(5):
        began = time.perf_counter()
        with console(folder) as terminal:
            terminal.wait_for("LMX", "Models")
            times.append(time.perf_counter() - began)
            used.append(cpu_s(terminal.process.pid) + cpu_s(terminal.console().pid))
            terminal.wait_for("unloaded")
            size = len(terminal.received)
    report.tell("bytes until the models are on screen", size, "B")
    report.tell("processor time until the first paint", used, "s")
    report.tell("first paint", times, "s", bar=at_most(FIRST_BAR_S))


def idle(report: Report, folder: Path, beside: Path) -> None:
    """Nothing happens: bytes and processor of a console whose engine, behind its API, has a model
    routable; and of the same engine alone, in ``lmx serve``, at the same time."""
    served = Served(environment(beside), ("--api", "127.0.0.1:0")).ready()
    try:
        served.load("good")
        with console(folder) as terminal:
            terminal.wait_for("good", "unloaded")
            load(port_of(folder), "good")
            terminal.wait_for("routable")
            time.sleep(SETTLE_S)
            pids = (terminal.console().pid, served.process.pid)
            bytes_s: list[float] = []
            whole: list[float] = []
            alone: list[float] = []
            for _ in range(WINDOWS):
                before = [cpu_s(pid) for pid in pids]
                bytes_s.append(rate(terminal, IDLE_S))
                after = [cpu_s(pid) for pid in pids]
                used = [(b - a) / IDLE_S * 100 for a, b in zip(before, after, strict=True)]
                whole.append(used[0])
                alone.append(used[1])
    finally:
        served.close()
    report.tell("idle", bytes_s, "B/s", bar=at_most(IDLE_BAR))
    report.tell("idle", whole, "% of a core", bar=at_most(CPU_BAR))
    report.tell("idle, the engine and its API alone", alone, "% of a core")
    part = [max(both - engine, 0.0) for both, engine in zip(whole, alone, strict=True)]
    report.tell("idle, the console's part", part, "% of a core")


def changing(report: Report, folder: Path, count: int) -> None:
    """Models that load slowly: each row's figure changes once a second."""
    names = [write_simulated(folder, f"slow-{n:02}", load_seconds=60) for n in range(count)]
    with console(folder) as terminal:
        terminal.wait_for("slow-00", "unloaded")
        port = port_of(folder)
        for name in names:
            threading.Thread(target=load, args=(port, name), daemon=True).start()
        shown = min(count, 10)
        terminal.wait_until(lambda s: len(re.findall(r"loading \d+ %", s)) >= shown, "loading")
        time.sleep(SETTLE_S)
        bytes_s = rate(terminal, BUSY_S)
    if count == 1:
        what = "one row that changes every second"
        report.tell(what, bytes_s, "B/change", bar=at_most(ROW_BAR))
    else:
        what = f"{count} models changing every second"
        report.tell(what, bytes_s, "B/s", bar=at_most(MANY_BAR))


def key_to_paint(report: Report, folder: Path) -> None:
    """From a key's write to the note line naming the row it leads to, while streams run."""
    script = {"tokens_per_second": 100, "say": [" word"], "context": 1_000_000}
    for name in ("aa-talker", "bb-other"):
        write_simulated(folder, name, **script)
    with console(folder, LMX_SLOTS=str(STREAMS), LMX_CONTEXT="1000000") as terminal:
        terminal.wait_for("aa-talker", "unloaded")
        port = port_of(folder)
        load(port, "aa-talker")
        terminal.wait_for("routable")
        prompts = [f"stream {n}" for n in range(STREAMS)]
        work = ask_all(port, "aa-talker", prompts, 100_000)
        threading.Thread(target=lambda: asyncio.run(work), daemon=True).start()
        terminal.wait_until(lambda s: f" {STREAMS} " in s.split("\n")[3], "the streams")
        times = []
        for press in range(PRESSES):
            key, name = (("j", "bb-other"), ("k", "aa-talker"))[press % 2]
            began = time.perf_counter()
            terminal.send(key)
            while not terminal.text.split("\n")[20].startswith(f" {name}"):
                time.sleep(0.0005)
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(0.05)
    times.sort()
    report.tell(f"key to paint, {STREAMS} streams", times, "ms")
    worst = times[int(len(times) * 0.99) - 1]
    what = f"key to paint, {STREAMS} streams, 99th percentile"
    report.tell(what, worst, "ms", bar=at_most(KEY_BAR_MS))


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="lmx-line-") as place:
        folders = [Path(place, name) for name in ("idle", "one", "many", "keys", "served")]
        for folder in folders:
            (folder / "models").mkdir(parents=True)
            (folder / "none").mkdir()
        write_simulated(folders[0], "good")
        first_paint(report, folders[0])
        write_simulated(folders[4], "good")
        idle(report, folders[0], folders[4])
        changing(report, folders[1], 1)
        changing(report, folders[2], MODELS)
        key_to_paint(report, folders[3])
    return report.status


if __name__ == "__main__":
    sys.exit(main())
