"""A case of the corpus: how to make a model on disk, and what the gate must say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Code

Make = Callable[[Path], Path]
BROKEN, UNSAFE, GONE = Code.MODEL_INCOMPLETE, Code.MODEL_UNSAFE, Code.MODEL_NOT_FOUND
BACKEND, KIND = Code.MODEL_UNSUPPORTED_BACKEND, Code.MODEL_UNSUPPORTED_ARCH


@dataclass(frozen=True)
class Case:
    """One model on disk. ``code`` None means admitted; ``warns`` names a check that warns."""

    make: Make
    code: Code | None = None
    check: str = ""
    warns: str = ""
    row: int = 0
    """The number of the known failure mode it plays; 0 where it is none."""
