"""A simulated model's faults: when each fires, how often it already has, and how it is done.

The deaths are real: the parent sees the signals, silences and torn frames of a model that fails.
"""

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NoReturn

from engine.catalog.simulated import Fault, When

ABNORMAL_EXIT = 3
"""Status of the fault ``exit``."""
FLOOD_BYTES = 4 * 1024 * 1024
"""What ``flood_stderr`` writes: far more than a pipe or the parent's tail holds."""
_TORN = b"\x00\x00\x01\x00" + b'{"type":"delta","id":"'
"""A frame that promises 256 bytes and ends after 22."""


class FaultCounter:
    """How often each fault has fired, in a file that survives the worker.

    Args:
        path: The file, or None to count only in this worker's life.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._counts: dict[str, int] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(path.read_text())
                self._counts = {str(key): int(value) for key, value in found.items()}

    @classmethod
    def of(cls, state_dir: str, fingerprint: str, model_path: str) -> "FaultCounter":
        """The counter of one model; a model without a fingerprint is known by its path."""
        if not state_dir:
            return cls(None)
        name = hashlib.sha256((fingerprint or model_path).encode("utf-8", "replace")).hexdigest()
        return cls(Path(state_dir) / f"simulated-{name[:16]}.json")

    def used_up(self, index: int, fault: Fault) -> bool:
        """Whether the fault has fired as often as it shall."""
        return fault.times is not None and self._counts.get(str(index), 0) >= fault.times

    def record(self, index: int) -> None:
        """Count one firing. Called before the fault is done: afterwards there may be no worker."""
        self._counts[str(index)] = self._counts.get(str(index), 0) + 1
        if self._path is None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._counts))
        draft.chmod(0o600)
        draft.replace(self._path)


class Faults:
    """The faults of one worker's life.

    ``garbage``, ``nan`` and ``empty`` are no deaths: once fired they colour the model's answers,
    at ``token`` those of one request, else all of that moment (at ``load``, of every moment).

    Args:
        faults: The script's, in its order.
        counter: How often each has fired already.
        raw_output: Writes bytes to the parent's socket, outside any frame.
        rank: Which of several processes has these faults.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        counter: FaultCounter,
        raw_output: Callable[[bytes], None],
        *,
        rank: int = 0,
    ) -> None:
        self._faults = tuple((at, fault) for at, fault in enumerate(faults) if fault.rank == rank)
        self._counter = counter
        self._raw_output = raw_output
        self._fired: set[tuple[int, str]] = set()
        self._colours: set[tuple[When, str, str]] = set()
        self._deaf = False

    def reach(self, moment: When, amount: float, subject: str = "") -> None:
        """Do what lies in wait at ``moment`` for at most ``amount`` (tokens, seconds, questions).

        Args:
            subject: What it happens to, a request's id; a fault fires once for each.

        Raises:
            MemoryError: for ``oom``.
        """
        for index, fault in self._faults:
            if fault.when != moment or fault.after > amount or (index, subject) in self._fired:
                continue
            self._fired.add((index, subject))
            if not self._counter.used_up(index, fault):
                self._counter.record(index)
                self._do(fault, subject)

    def colours(self, moment: When, subject: str = "") -> Collection[str]:
        """What answers of ``moment`` to ``subject`` are of ``garbage``, ``nan`` and ``empty``."""
        if not self._colours:  # as with almost every token
            return ()
        mine = (("load", ""), (moment, subject))
        return {what for when, whose, what in self._colours if (when, whose) in mine}

    def forget(self, subject: str) -> None:
        """The subject is gone: drop what was kept of it."""
        self._fired = {(index, who) for index, who in self._fired if who != subject}
        self._colours = {colour for colour in self._colours if colour[1] != subject}

    def obey(self) -> None:
        """Called when the worker shall end; never returns once ``ignore_term`` has fired."""
        while self._deaf:
            time.sleep(60)

    def _do(self, fault: Fault, subject: str) -> None:
        match fault.do:
            case "segv":
                _die_of(signal.SIGSEGV)
            case "abort":
                _say("GGML_ASSERT(simulated) failed")
                os.abort()
            case "kill":
                _die_of(signal.SIGKILL)
            case "exit":
                _say("simulated: giving up")
                os._exit(ABNORMAL_EXIT)
            case "hang":
                _hang()
            case "oom":
                _say("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer")
                raise MemoryError("failed to allocate buffer (simulated)")
            case "flood_stderr":
                _flood()
            case "ignore_term":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self._deaf = True
            case "torn_frame":
                self._raw_output(_TORN)
                os._exit(ABNORMAL_EXIT)
            case "garbage" | "nan" | "empty":
                self._colours.add((fault.when, subject, fault.do))


def _say(line: str) -> None:
    os.write(2, line.encode() + b"\n")


def _die_of(number: signal.Signals) -> NoReturn:
    os.kill(os.getpid(), number)
    while True:  # the signal is on its way
        time.sleep(1)


def _hang() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _say("simulated: hangs")
    while True:
        time.sleep(3600)


def _flood() -> None:
    line = b"simulated: the same warning again, once for every tensor of the model\n"
    block = line * (64 * 1024 // len(line))
    for _ in range(FLOOD_BYTES // len(block)):
        written = 0
        while written < len(block):
            written += os.write(2, block[written:])
