"""First paint of the console with its API against without it, and the cost of ``lmx status``.

Run: ``python -m tests.benchmarks.first_paint``. Bars: the API delays the paint by nothing that can
be measured (≤ 1.1 x), and ``lmx status`` takes ≤ 0.3 s of processor time.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.console.pty.conftest import Terminal
from tests.end_to_end.served import Served, environment

RUNS = 5
RATIO, STATUS_CPU_S = 1.1, 0.3


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
    """Print both figures as one JSON object; returns 1 when a bar was missed."""
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
    # The quickest run of each: whatever else the machine does only ever adds.
    base, beside, spent = min(without), min(with_api), min(cpu)
    print(
        json.dumps(
            {
                "first_paint_s": round(beside, 3),
                "without_api_s": round(base, 3),
                "ratio": round(beside / base, 3),
                "status_cpu_s": round(spent, 3),
                "processors": os.cpu_count(),
            }
        )
    )
    return int(beside > RATIO * base or spent > STATUS_CPU_S)


if __name__ == "__main__":
    sys.exit(main())
