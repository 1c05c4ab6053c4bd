"""The console, which on SIGUSR2 writes what it holds into the file that ``LMX_PROBE`` names: its
asyncio tasks and threads, how many Python objects there are, and of which types the most.

Run as ``python -m tests.benchmarks.probed_console``, with the arguments of ``lmx``. From outside a
process shows its memory and descriptors; what grew inside shows only here.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

TYPES = 25
"""So many types are named, the most frequent first."""


def held() -> dict[str, object]:
    """What this process holds at this moment."""
    gc.collect()
    found = gc.get_objects()
    types = Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in found)
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # before the loop runs, or after
        tasks = 0
    return {
        "tasks": tasks,
        "threads": threading.active_count(),
        "objects": len(found),
        "types": dict(types.most_common(TYPES)),
    }


def answer(path: Path) -> None:
    """Write it, whole or not at all."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(held()))
    beside.replace(path)


if __name__ == "__main__":
    asked = Path(os.environ["LMX_PROBE"])
    signal.signal(signal.SIGUSR2, lambda *_: answer(asked))
    from console.cli import main as console

    sys.exit(console())
