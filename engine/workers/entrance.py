"""The door through which another interpreter enters: it finds ``engine`` here, and nothing else.

Run as a script, ``python -P …/entrance.py MODULE ARGUMENTS…``. A folder on ``PYTHONPATH`` would
lend the other interpreter whatever lies beside ``engine``; installed, that is every package of
ours, mlx included. So ``engine`` alone is made importable, and whatever that interpreter may have
of this name does not shadow it.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).absolute().parent.parent


def command(python: Path | str, module: str, *, door: bool = False) -> list[str]:
    """The command line that runs a module of ours in an interpreter, without its arguments.

    ``-P`` keeps this folder and the current one off the interpreter's path. This interpreter has
    ``engine`` by :func:`path_for`; another one comes in by the door.

    Args:
        door: By the door in any case: a worker cannot tell how it came in itself.
    """
    if _is_ours(python) and not door:
        return [str(python), "-P", "-m", module]
    return [str(python), "-P", __file__, module]


def path_for(python: Path | str) -> dict[str, str]:
    """What the environment must say for this interpreter to find ``engine``."""
    return {"PYTHONPATH": str(_PACKAGE.parent)} if _is_ours(python) else {}


def _is_ours(python: Path | str) -> bool:
    return str(python) == sys.executable


class OnlyEngine:
    """Finds the package ``engine`` and leaves every other import to the interpreter."""

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """What Python's import asks of a finder."""
        if name != "engine" or path is not None:
            return None
        return PathFinder.find_spec(name, [str(_PACKAGE.parent)], target)


if __name__ == "__main__":
    sys.meta_path.insert(0, OnlyEngine)
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
