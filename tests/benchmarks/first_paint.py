"""First paint of the console with its API against without it, and the cost of ``lmx status``.

Run: ``python -m tests.benchmarks.first_paint``. Bars: the API delays the paint by nothing that can
be measured (≤ 1.1 x), it comes within 0.6 s, and ``lmx status`` takes ≤ 0.3 s of processor time.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.report import Report, at_most
from tests.console.pty.conftest import Terminal
from tests.end_to_end.served import Served, environment

TAKES_S = 30
RUNS = 5
PAINT_S, RATIO, STATUS_CPU_S = 0.6, 1.1, 0.3


def painted_s(folder: Path, *arguments: str) -> float:
    """From the start of the process to the panels on the screen."""
    variables = environment(folder, TERM="xterm-256color", LMX_API="127.0.0.1:0")
    began = time.monotonic()
    terminal = Terminal(variables, (120, 36), list(arguments))
    try:
        terminal.wait_for("Models", "Registry")
        return time.monotonic() - began
    finally:
        terminal.send("q")
        terminal.process.wait(20)
        terminal.close()


def status_cpu_s(variables: dict[str, str]) -> float:
    """Processor time of one ``lmx status``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "console", "status", "--json"],
        env=variables,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Tell every figure; returns 1 when a bar was missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_api, without = [], []
        for _ in range(RUNS):  # turn about, so that the machine's mood is the same for both
            without.append(painted_s(folder, "--no-api"))
            with_api.append(painted_s(folder))
        served = Served(environment(folder), ("--api", "127.0.0.1:0")).ready()
        try:
            cpu = [status_cpu_s(served.environment) for _ in range(RUNS)]
        finally:
            served.close()
    report = Report()
    report.tell("first paint", with_api, "s", bar=at_most(PAINT_S))
    report.tell("with the API", with_api, "s", without, "without", bar=at_most(RATIO))
    report.tell("lmx status, processor time", cpu, "s", bar=at_most(STATUS_CPU_S))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
