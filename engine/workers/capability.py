"""What each runtime can run: asked of the runtime once per version, in a child, and remembered.

The answers stand in ``capabilities.json`` under the home. They are a cache and nothing more: a
damaged file is forgotten and asked for again.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import time

from engine.memory import wired_limit
from engine.text import clean_bytes, clean_line
from engine.types import Backend, RuntimeView
from engine.workers.entrance import command, path_for
from engine.workers.process import worker_environment

FILE = "capabilities.json"
FORMAT = 3
TIMEOUT_S = 120.0
"""The import of mlx-lm and transformers from a cold disk, with room to spare."""
MAX_FILE = 8 * 1024 * 1024
MAX_QUESTIONS = 500
"""Questions asked of one child: the argument list of a process is limited."""
_QUESTION = re.compile(r"[A-Za-z0-9_.:/\-]{1,130}")
_PACKAGES = {Backend.GGUF: ("llama-cpp-python",), Backend.MLX: ("mlx-lm", "mlx")}
SIMULATED_VERSION = "simulated 1.0"
_VERSIONS = "--versions"
"""The question of :mod:`engine.backends.support` that imports no backend."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a runtime said. ``error`` is set when it could not be asked; the rest is empty then."""

    version: str
    error: str = ""
    supports: dict[str, bool] = field(default_factory=dict)
    ggml_types: int | None = None
    device: str = ""
    working_set: int | None = None
    """Bytes the GPU may keep resident; None where it computes on the CPU."""
    wired: int = 0
    """The operator's limit for the GPU when that was asked; see :func:`engine.memory.wired_limit`.
    """
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of a config.json an architecture cannot do without, where it has any."""


class Capabilities:
    """The memory of what runtimes can run. Safe to call from several threads.

    Args:
        home: The engine's home folder; ``capabilities.json`` is kept there.
        clock: Unix seconds, for the note of when an answer was given.
        timeout_s: How long a child may take to answer.
        environment: What the child's environment is drawn from; None means this process's.
        wired: The operator's limit for the GPU in bytes, read once.
    """

    def __init__(
        self,
        home: Path,
        clock: Callable[[], float] = time,
        *,
        timeout_s: float = TIMEOUT_S,
        environment: dict[str, str] | None = None,
        wired: Callable[[], int] = wired_limit,
    ) -> None:
        self._path = home / FILE
        self._clock = clock
        self._timeout_s = timeout_s
        self._environment = worker_environment(
            dict(os.environ) if environment is None else environment
        )
        self._wired = wired()
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = _read(self._path)

    def known(self, runtime_version: str, backend: Backend, arch: str) -> bool | None:
        """Whether this version runs this architecture; None when it has not been asked.

        ``arch`` may be any question of :mod:`engine.backends.support`. Reads memory only.
        """
        if backend is Backend.SIMULATED:
            return True
        with self._lock:
            answer = self._answers.get(_name(backend, runtime_version))
        return None if answer is None else answer.supports.get(arch)

    def requires(self, runtime_version: str, backend: Backend, arch: str) -> tuple[str, ...]:
        """The keys of a config.json this version needs for an architecture; empty when not known.

        ``arch`` is as for :meth:`known`.
        """
        with self._lock:
            answer = self._answers.get(_name(backend, runtime_version))
        return () if answer is None else answer.requires.get(arch, ())

    def ggml_types(self, runtime_version: str) -> int | None:
        """How many GGML tensor types this llama.cpp knows; None when it has not been asked."""
        with self._lock:
            answer = self._answers.get(_name(Backend.GGUF, runtime_version))
        return None if answer is None else answer.ggml_types

    def working_set(self, runtime_version: str) -> int | None:
        """How many bytes this MLX may keep on its GPU; None on a CPU, or when not asked yet."""
        answer = self._mlx(runtime_version)
        return None if answer is None else answer.working_set

    def moved(self, runtime_version: str) -> bool:
        """Whether the operator has set another limit for the GPU since this MLX was asked."""
        answer = self._mlx(runtime_version)
        if answer is None or answer.working_set is None:
            return False
        return answer.wired != self._wired

    def _mlx(self, runtime_version: str) -> Answer | None:
        with self._lock:
            return self._answers.get(_name(Backend.MLX, runtime_version))

    def ask(self, backend: Backend, python: Path, architectures: Iterable[str]) -> Answer:
        """Ask a runtime and remember what it said; blocks until the child has answered.

        Every name is asked, known or not. A runtime that dies or cannot be imported is told in
        ``error`` and not remembered: it may be mended without changing its version. Names that no
        architecture has (other characters, too long) are answered False and never asked.
        """
        names = sorted(set(architectures))
        if backend is Backend.SIMULATED:
            return Answer(SIMULATED_VERSION, supports=dict.fromkeys(names, True))
        odd = {name: False for name in names if not _QUESTION.fullmatch(name)}
        plain = [name for name in names if name not in odd]
        answer = self._ask_child(backend, python, plain[:MAX_QUESTIONS])
        for start in range(MAX_QUESTIONS, len(plain), MAX_QUESTIONS):
            if answer.error:
                break
            more = self._ask_child(backend, python, plain[start : start + MAX_QUESTIONS])
            answer = _merged(answer, more)
        if not answer.error:
            self._remember(backend, answer)
        return Answer(
            answer.version,
            answer.error,
            {} if answer.error else answer.supports | odd,
            answer.ggml_types,
            answer.device,
            answer.working_set,
            answer.wired,
            answer.requires,
        )

    def versions(self, backend: Backend, python: Path, name: str = "default") -> RuntimeView:
        """The versions a runtime has installed, without importing any of them.

        For the interpreter this process runs in the installed packages' metadata is read; another
        interpreter is asked in a child. ``error`` names what is missing.
        """
        if backend is Backend.SIMULATED:
            return RuntimeView(name, backend, SIMULATED_VERSION)
        if Path(python) == Path(sys.executable):
            try:
                parts = [f"{p} {importlib.metadata.version(p)}" for p in _PACKAGES[backend]]
            except importlib.metadata.PackageNotFoundError as error:
                return RuntimeView(name, backend, "", f"{error.name} is not installed")
            return RuntimeView(name, backend, ", ".join(parts))
        answer = self._ask_child(backend, python, [_VERSIONS])
        return RuntimeView(name, backend, answer.version, answer.error)

    def tried(self, backend: Backend, python: Path, name: str = "default") -> RuntimeView:
        """As :meth:`versions`, and the backend is imported in a child: a broken one shows itself.

        Takes the seconds that an import of the backend takes.
        """
        view = self.versions(backend, python, name)
        if view.error or backend is Backend.SIMULATED:
            return view
        return replace(view, error=self._ask_child(backend, python, []).error)

    def _ask_child(self, backend: Backend, python: Path, questions: list[str]) -> Answer:
        try:
            child = subprocess.Popen(
                [*command(python, "engine.backends.support"), backend.value, *questions],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment | path_for(python),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Answer("", clean_line(f"{python} did not start: {error}"))
        with child:
            try:
                out, err = child.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                return Answer("", f"{backend} gave no answer within {self._timeout_s:g} s")
        return replace(_parse(backend, child.returncode, out, err), wired=self._wired)

    def _remember(self, backend: Backend, answer: Answer) -> None:
        name = _name(backend, answer.version)
        with self._lock:
            old = self._answers.get(name)
            self._answers[name] = answer if old is None else _merged(old, answer)
            # A cache that cannot be written costs a second next time and nothing else.
            with contextlib.suppress(OSError):
                _write(self._path, self._answers, self._clock())


def _name(backend: Backend, version: str) -> str:
    return f"{backend.value} {version}"


def _merged(old: Answer, new: Answer) -> Answer:
    return Answer(
        new.version,
        new.error,
        old.supports | new.supports,
        new.ggml_types if new.ggml_types is not None else old.ggml_types,
        new.device or old.device,
        new.working_set,
        new.wired,
        old.requires | new.requires,
    )


def _parse(backend: Backend, status: int, out: bytes, err: bytes) -> Answer:
    last = next((line for line in reversed(err.splitlines()) if line.strip()), b"")
    words = clean_line(clean_bytes(last), limit=200)
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = " (built for another processor?)" if name == "SIGILL" else ""
        return Answer("", f"{backend} died of {name} when it was imported{hint}: {words}")
    try:
        data = json.loads(out)
        error = clean_line(str(data["error"]), limit=300)
        version = clean_line(str(data["version"]), limit=200)
        answer = Answer(version, error) if error else _answer(version, data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Answer("", f"{backend} ended with status {status} and no answer: {words}")
    return answer


def _answer(version: str, data: dict[str, object]) -> Answer:
    supports = data["supports"]
    types, limit, wired = (data.get(key) for key in ("ggml_types", "working_set", "wired"))
    requires = data.get("requires", {})
    if not isinstance(supports, dict) or not isinstance(requires, dict):
        raise TypeError("an answer is no object")
    return Answer(
        version,
        supports={str(k): v for k, v in supports.items() if isinstance(v, bool)},
        ggml_types=types if isinstance(types, int) else None,
        device=clean_line(str(data.get("device", "")), limit=100),
        working_set=limit if isinstance(limit, int) and limit > 0 else None,
        wired=wired if isinstance(wired, int) else 0,
        requires={
            str(k): tuple(str(key) for key in v) for k, v in requires.items() if isinstance(v, list)
        },
    )


def _read(path: Path) -> dict[str, Answer]:
    """The cache as far as it can be read; anything odd in it counts as not there."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE:
            return {}
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            return {}
        return {
            str(name): _answer(str(row["version"]), row)
            for name, row in content["runtimes"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(path: Path, answers: dict[str, Answer], now: float) -> None:
    content = {
        "format": FORMAT,
        "written_at": now,
        "runtimes": {
            name: {
                "version": answer.version,
                "supports": dict(sorted(answer.supports.items())),
                "ggml_types": answer.ggml_types,
                "device": answer.device,
                "working_set": answer.working_set,
                "wired": answer.wired,
                "requires": dict(sorted(answer.requires.items())),
            }
            for name, answer in sorted(answers.items())
        },
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file 0600; the rename puts it in place whole or not at all.
    handle, temporary = tempfile.mkstemp(prefix=FILE, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
