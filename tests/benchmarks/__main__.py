"""Every benchmark, one after another: ``python -m tests.benchmarks [NAME…]``.

Each runs in a process of its own, prints its figures and bars, and says beforehand about how long
it takes on two cores (its ``TAKES_S``) and afterwards how long it took. ``--markdown FILE`` writes
all figures as one table, ``--bars`` leaves in it what has a bar. The exit status is 1 when any of
them missed one.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.report import REPORT, markdown, read

HERE = Path(__file__).parent
_TAKES = re.compile(r"^TAKES_S = (\d+)$", re.MULTILINE)


def known() -> dict[str, int]:
    """The modules here that measure something, by the seconds each takes: those with a ``main``."""
    sources = {path.stem: path.read_text() for path in sorted(HERE.glob("*.py"))}
    return {
        name: int(found[1]) if (found := _TAKES.search(source)) else 0
        for name, source in sources.items()
        if name != "__main__" and "\ndef main(" in source
    }


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def run(name: str, takes_s: int) -> bool:
    """Run one; returns whether it kept its bars."""
    print(f"== {name}, about {duration(takes_s)}" if takes_s else f"== {name}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"tests.benchmarks.{name}"]
    kept = subprocess.run(command, check=False).returncode == 0
    print(f"   took {duration(time.monotonic() - began)}", flush=True)
    return kept


def main() -> int:
    """Run those named, or all."""
    all_known = known()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(all_known))
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write one table")
    parser.add_argument("--bars", action="store_true", help="with --markdown: only what has a bar")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in all_known]:
        parser.error(f"no benchmark named {unknown[0]}; there are: {', '.join(all_known)}")
    names = asked.names or list(all_known)
    print(f"about {duration(sum(all_known[name] for name in names))} in all")
    with tempfile.TemporaryDirectory(prefix="lmx-figures-") as place:
        figures = Path(place, "figures.jsonl")
        figures.touch()
        os.environ[REPORT] = str(figures)
        missed = [name for name in names if not run(name, all_known[name])]
        if asked.markdown:
            shown = [one for one in read(figures) if one.bar or not asked.bars]
            asked.markdown.write_text(markdown(shown))
    print(f"missed a bar: {', '.join(missed)}" if missed else "every bar was kept")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
