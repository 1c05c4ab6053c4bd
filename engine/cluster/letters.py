"""What an engine and a node agent send each other. Everything here is a value that pickles."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.fleet.runtimes import Runtime
from engine.memory import Memory
from engine.workers.placement import Ending
from engine.workers.protocol import PROTOCOL

Order = tuple[str, int, bytes | int]
"""``send``, ``kill`` or ``close``, of a worker, or ``free``, of ports; its number; bytes, or a
signal's number."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a host says of itself when it joins."""

    release: str
    """See :func:`release`."""
    processor: str
    runtimes: tuple[Runtime, ...]
    memory: Memory
    budget: int
    """Bytes the engine may use there."""
    state_dir: Path


@dataclass(frozen=True, slots=True)
class Parting:
    """A worker's process has ended."""

    worker: int
    ending: Ending
    stderr_tail: bytes


@dataclass(frozen=True, slots=True)
class Tidings:
    """What the workers of a host have said since the last time, each one's bytes in one piece."""

    number: int
    said: dict[int, bytes]
    closed: tuple[int, ...]
    """Workers that have closed their socket, after what they said."""
    ended: tuple[Parting, ...]
    memory: Memory


def release() -> str:
    """What engine and agent must have in common."""
    try:
        program = version("opta-lmx")
    except PackageNotFoundError:  # run from a folder
        program = "unknown"
    return f"opta-lmx {program}, worker protocol {PROTOCOL}"
