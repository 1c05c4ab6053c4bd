"""The script of a simulated model: what a real worker shall do, and how it shall fail.

Read by the catalog and, inside a worker, by the simulated backend.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.catalog.header import HeaderError
from engine.catalog.regular import read_bounded
from engine.text import clean_line

SCRIPT_NAME = "simulated.json"
SCRIPT_CAP = 4 * 1024 * 1024
"""Longest script in bytes."""

When = Literal["load", "canary", "token", "idle"]
Do = Literal[
    "segv",
    "abort",
    "kill",
    "exit",
    "hang",
    "oom",
    "garbage",
    "nan",
    "empty",
    "flood_stderr",
    "ignore_term",
    "torn_frame",
]


class ScriptError(Exception):
    """The script cannot be used. ``expected`` and ``found`` are safe to show."""

    def __init__(self, expected: str, found: str) -> None:
        self.expected = clean_line(expected)
        self.found = clean_line(found)
        super().__init__(f"{SCRIPT_NAME}: expected {self.expected}, found {self.found}")


class Fault(BaseModel):
    """One planned failure.

    ``when`` is the moment it lies in wait for: ``load`` while loading, ``canary`` at a canary
    probe, ``token`` after ``after`` tokens of a request, ``idle`` after ``after`` seconds without
    work.

    ``do`` is what happens then:

    - ``segv``, ``abort``, ``kill``: a real SIGSEGV, SIGABRT or SIGKILL of the worker
    - ``exit``: a plain end with a status above 0
    - ``hang``: silence for good
    - ``oom``: what a runtime answers that gets no memory
    - ``garbage``: one senseless token over and over
    - ``nan``: logits that are no numbers
    - ``empty``: the text ends before it begins
    - ``flood_stderr``: megabytes on standard error, then on as if nothing were
    - ``ignore_term``: no ear for SIGTERM or a shutdown any more
    - ``torn_frame``: half a frame, then the end
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: When
    do: Do
    after: float = Field(default=0, ge=0, le=10_000_000, allow_inf_nan=False)
    """Tokens, or seconds for ``idle``."""
    times: int | None = Field(default=None, ge=1, le=1_000_000)
    """How often it fires before the model behaves; None: always."""
    rank: int = Field(default=0, ge=0, le=1024)
    """Which process has it, where the model is loaded over several."""


class SimulatedScript(BaseModel):
    """``simulated.json``. Every key but ``kind`` may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["simulated"]
    weights_gb: float = Field(default=1.0, ge=0, le=100_000, allow_inf_nan=False)
    """What it pretends to weigh, in 10^9 bytes; nothing like it is allocated."""
    load_seconds: float = Field(default=0.5, ge=0, le=86_400, allow_inf_nan=False)
    tokens_per_second: float = Field(default=40.0, gt=0, le=1_000_000, allow_inf_nan=False)
    architecture: str = Field(default="simulated", min_length=1, max_length=64)
    """What it says it is; a runtime signature may name it."""
    context: int = Field(default=8192, ge=1, le=100_000_000)
    say: tuple[str, ...] = Field(default=("It", " works", "."), min_length=1, max_length=100_000)
    """One text per step, repeated if the request wants more."""
    tool_format: str | None = Field(default=None, max_length=64)
    backend_version: str = Field(default="1.0", min_length=1, max_length=64)
    faults: tuple[Fault, ...] = Field(default=(), max_length=256)

    @property
    def weight_bytes(self) -> int:
        return int(self.weights_gb * 1e9)


def read_script(folder: Path) -> SimulatedScript:
    """Read ``simulated.json`` in a folder.

    Raises:
        ScriptError: it cannot be read, is too long, or does not fit; it says which key and why.
    """
    try:
        data = read_bounded(folder / SCRIPT_NAME, SCRIPT_CAP)
    except HeaderError as error:
        raise ScriptError(error.expected, error.found) from error
    try:
        return SimulatedScript.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        found = repr(first.get("input"))[:120]
        raise ScriptError(f"{where}: {first['msg']}", found) from error
