"""Every benchmark, one after another: ``python -m tests.benchmarks [NAME…]``.

Each runs in a process of its own and prints its figures and bars; the exit status is 1 when any of
them missed one.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """The modules here that measure something: those with a ``main``."""
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if path.stem != "__main__" and "\ndef main()" in path.read_text()
    )


def main() -> int:
    """Run those named, or all."""
    known, missed = names(), []
    for name in sys.argv[1:] or known:
        if name not in known:
            print(f"no benchmark named {name}; there are: {', '.join(known)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        if subprocess.run(
            [sys.executable, "-m", f"tests.benchmarks.{name}"], check=False
        ).returncode:
            missed.append(name)
    print(f"missed a bar: {', '.join(missed)}" if missed else "every bar was kept")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
