"""Why a worker ended or a load failed: what was seen, turned into one code.

The table is that of the messages llama.cpp, mlx and mlx-lm print. A line that
no pattern knows stays unknown: a guessed cause sends the operator after the wrong remedy.
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Code
from engine.text import clean, clean_line

HOST_LOST = "host lost"
"""The cause of an end that came with the end of the whole host."""
_SAID, _FRAMES = 4, 4
"""Lines kept of what was said before a crash, and of Python's account of it."""
_HEADS = frozenset({"Current thread (most recent call first):", "Stack (most recent call first):"})
_FATAL = "Fatal Python error"
_NOISE = "Extension modules:"
_MEMORY = re.compile(
    r"OutOfMemory|out of memory|Insufficient Memory|failed to allocate|bad_alloc|MemoryError"
    r"|Failed to create llama_context|failed with status 5",
    re.IGNORECASE,
)
_LOAD_TABLE: tuple[tuple[re.Pattern[str], Code], ...] = (
    (_MEMORY, Code.INSUFFICIENT_MEMORY),
    (
        re.compile(r"unknown model architecture|Model type .* not supported"),
        Code.MODEL_UNSUPPORTED_ARCH,
    ),
    (
        re.compile(
            r"invalid ggml type|REMOVED|pre-tokenizer type|only supports up to version"
            r"|no longer supported|endianness|unsupported dtype|requested number of bits"
            r"|unsupported compressed-tensors|wrong number of tensors|parameters not in model"
            r"|Expected shape|Unsupported RoPE type|Cannot infer the quantization mode"
            r"|divisible by the quantization group size"
            # What refuses to be split among ranks: mlx's layers, mlx.split, and mlx-lm's models.
            r"|Cannot shard|cannot be (sharded|split)|sub arrays with equal size"
            r"|group size \d+ must divide|not all divisible by \d+ ranks"
        ),
        Code.MODEL_UNSUPPORTED_BACKEND,
    ),
    (
        re.compile(
            r"not within the file bounds|failed to read (magic|header|key|tensor)|invalid magic"
            r"|failed to load GGUF split|invalid split|illegal split|missing tensor"
            r"|check_tensor_dims|has wrong type|key not found|cannot find tokenizer"
            r"|Missing \d+ parameters|json header length|Perhaps an incomplete|No safetensors"
            r"|Unable to read|No such file or directory",
        ),
        Code.MODEL_INCOMPLETE,
    ),
    (re.compile(r"trust_remote_code|SecurityError"), Code.MODEL_UNSAFE),
)


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """The end of a worker as its supervisor saw it."""

    at: float
    status: int
    """Exit status, or minus the signal's number."""
    stderr_tail: str
    """Sanitised."""
    killed_for: str = ""
    """Why the supervisor itself killed it (a deadline, a torn frame), else empty."""
    out_of_memory: bool = False
    """Whether the system's memory killer struck while the worker lived."""
    part: str = ""
    """Which of its processes ended first, where the worker is several: ``rank 1 of 3``."""
    host_lost: str = ""
    """Why its host is gone, with whatever ran on it; else empty."""

    @property
    def signal(self) -> str | None:
        """``SIGSEGV`` and the like, or None where it was no signal."""
        if self.status >= 0:
            return None
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"

    @property
    def cause(self) -> str:
        """The end in a word or a few, for a row."""
        if self.host_lost:
            return HOST_LOST
        cause = self.killed_for or self.signal or f"exit {self.status}"
        return f"{cause} in {self.part}" if self.part else cause

    @property
    def last_words(self) -> str:
        """The few lines of standard error that tell most, for people.

        Python's account of a crash has the most recent call first; whatever a native library
        printed before it is worth more than the rest of it.
        """
        lines = [x for x in self.stderr_tail.splitlines() if x.strip() and not x.startswith(_NOISE)]
        crash = next((n for n, line in enumerate(lines) if line.startswith(_FATAL)), len(lines))
        before, account = lines[:crash][-_SAID:], lines[crash:]
        return "\n".join(before + [line for line in account if line not in _HEADS][:_FRAMES])


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure with its code. ``environment`` faults are not the model's and never count."""

    code: Code
    cause: str
    detail: str
    environment: bool = False


def classify_exit(end: WorkerExit, *, loading: bool) -> Fault:
    """Tell whose fault a worker's end was.

    Args:
        loading: Whether the model was still being loaded.
    """
    match = _memory_line(end.stderr_tail)
    if end.host_lost:
        return Fault(Code.MODEL_UNSTABLE, end.cause, end.host_lost, environment=True)
    if not end.killed_for and (end.out_of_memory or match):
        found = match or "the system's memory killer ended the worker"
        return Fault(Code.INSUFFICIENT_MEMORY, "out of memory", found, environment=True)
    detail = _last_line(end.stderr_tail)
    if not loading:
        return Fault(Code.MODEL_UNSTABLE, end.cause, detail)
    timed_out = end.killed_for.startswith("load")
    code = Code.MODEL_LOAD_TIMEOUT if timed_out else Code.MODEL_LOADER_CRASHED
    return Fault(code, end.cause, detail)


def classify_load_failure(kind: str, message: str, stderr_tail: str) -> Fault:
    """Tell what a load that failed without killing the worker means.

    Args:
        kind: The exception's type, as the worker named it.
        message: Its text. llama-cpp-python's is always the same, so standard error decides then.
        stderr_tail: What the worker printed.

    Whatever it means, it is told in order by a worker that lives, and would be told the same again:
    never a strike or a restart, which would only call it a crash loop.
    """
    for text in (f"{kind}: {message}", _without_code(stderr_tail)):
        for pattern, code in _LOAD_TABLE:
            if found := pattern.search(text):
                line = _line_around(text, found.start())
                return Fault(code, code.value, clean_line(line), environment=True)
    return Fault(
        Code.UNKNOWN_FAILURE,
        clean_line(kind, limit=60),
        clean_line(message, limit=400),
        environment=True,
    )


def _without_code(text: str) -> str:
    """Standard error without the source lines of Python's tracebacks: they quote the program, and
    a program that names a danger to avoid it must not be taken for the danger."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        inside = line.startswith("Traceback (most recent call last)") or (
            inside and line.startswith(" ")
        )
        if not inside:
            kept.append(line)
    return "\n".join(kept)


def _memory_line(text: str) -> str:
    tail = "\n".join(text.splitlines()[-40:])
    found = _MEMORY.search(tail)
    return clean_line(_line_around(tail, found.start()), limit=200) if found else ""


def _line_around(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)].strip()


def _last_line(text: str) -> str:
    """What was said last before Python's own account of the crash, which every death ends in."""
    before, found, after = text.partition(_FATAL)
    said = before if before.strip() else found + after.partition("\n")[0]
    lines = [line for line in said.splitlines() if line.strip()]
    return clean_line(lines[-1], limit=200) if lines else ""


def memory_kills() -> int:
    """How often the system's memory killer has struck: a counter to compare before and after.

    0 where the system does not tell (macOS): there an unexplained SIGKILL stays unexplained.
    """
    total = 0
    for path, name in (("/proc/vmstat", "oom_kill"), ("/sys/fs/cgroup/memory.events", "oom_kill")):
        try:
            for line in Path(path).read_text().splitlines():
                word, _, value = line.partition(" ")
                if word == name:
                    total += int(value)
        except (OSError, ValueError):
            continue
    return total


def read_tail(data: bytes) -> str:
    """Standard error as text people may see."""
    return clean(data.decode("utf-8", "backslashreplace"))
