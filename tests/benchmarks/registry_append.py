"""What a durable append and an opening of the registry cost, small against large, in one run.

Run with ``python -m tests.benchmarks.registry_append``. Appends to the small and the large file
take turns, so that a busy disk hurts both alike. Bars: ratio ≤ 1.3, open ≤ 1 s.
"""

import sys
import tempfile
import time
from pathlib import Path

from engine.ledger import record
from engine.registry import Registry
from engine.types import RegistryRow
from tests.benchmarks.report import Report, at_most

TAKES_S = 10
SMALL, LARGE, APPENDS = 100, 100_000, 200
RATIO_BAR, OPEN_BAR_S = 1.3, 1.0


def row(number: int) -> RegistryRow:
    """A canary row of ordinary size; one model in a thousand rows is another."""
    return RegistryRow(
        ts=1_790_000_000.0 + number,
        model_id=f"org/model-{number % 1000}",
        backend="gguf",
        backend_version="llama.cpp 0.3.36",
        outcome="pass" if number % 7 else "fail",
        reason="canary 9/9, 46.2 tok/s",
        metadata={
            "event": "canary",
            "fingerprint": f"{number % 1000:064x}",
            "runtime": "gguf",
            "actor": "operator@198.51.100.7",
            "override": False,
            "timings": {"handshake": 2.0, "tokenizer": 1.0, "logits": 61.3, "decode": 240.9},
        },
    )


def fill(path: Path, rows: int) -> None:
    """Write a ledger of so many rows as appends would have left it."""
    names = ("ts", "model_id", "backend", "backend_version", "outcome", "reason", "metadata")
    lines = (record.encode({n: getattr(row(i), n) for n in names}) for i in range(rows))
    path.write_bytes(b"[\n" + b"\n,".join(lines) + b"\n]\n")


def opened(path: Path) -> tuple[float, Registry]:
    """Seconds to open the ledger, and the open ledger."""
    began = time.perf_counter()
    registry = Registry(path, time.time)
    return time.perf_counter() - began, registry


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    with tempfile.TemporaryDirectory(prefix="lmx-registry-") as folder:
        paths = {rows: Path(folder, f"{rows}.json") for rows in (SMALL, LARGE)}
        ledgers: dict[int, Registry] = {}
        open_s: dict[int, float] = {}
        for rows, path in paths.items():
            fill(path, rows)
            open_s[rows], ledgers[rows] = opened(path)
        times: dict[int, list[float]] = {SMALL: [], LARGE: []}
        for number in range(APPENDS):
            for rows, ledger in ledgers.items():
                began = time.perf_counter()
                ledger.append(row(rows + number))
                times[rows].append(time.perf_counter() - began)
        size_mb = paths[LARGE].stat().st_size / 1e6
        for ledger in ledgers.values():
            ledger.close()
    small, large = ([one * 1e3 for one in times[rows]] for rows in (SMALL, LARGE))
    report = Report()
    report.tell(
        f"durable append at {LARGE:,} records",
        large,
        "ms",
        small,
        f"at {SMALL:,}",
        bar=at_most(RATIO_BAR),
    )
    what = f"open at {LARGE:,} records, {size_mb:.0f} MB"
    report.tell(what, open_s[LARGE], "s", bar=at_most(OPEN_BAR_S))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
