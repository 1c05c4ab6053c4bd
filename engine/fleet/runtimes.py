"""The runtimes of one host, and which of them a model is to run in."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from engine.catalog.entry import CatalogEntry
from engine.settings import DEFAULT_RUNTIME, Settings
from engine.text import clean_line
from engine.types import Backend


@dataclass(frozen=True, slots=True)
class Runtime:
    """The interpreter a model is to run in, and the version verdicts are about."""

    name: str
    backend: Backend
    python: str
    version: str
    error: str = ""


class Runtimes:
    """What a host has, by name and backend.

    Args:
        settings: Which one a model or a backend is to run in.
    """

    def __init__(self, settings: Settings, found: Iterable[Runtime] = ()) -> None:
        self._settings = settings
        self._found: Mapping[tuple[str, Backend], Runtime] = {}
        self.update(found)

    @property
    def all(self) -> tuple[Runtime, ...]:
        """Every one of them."""
        return tuple(self._found.values())

    def update(self, found: Iterable[Runtime]) -> None:
        """Take in what was found of some; the others stay as they are known."""
        fresh = {(runtime.name, runtime.backend): runtime for runtime in found}
        self._found = {**self._found, **fresh}

    def of(self, backend: Backend) -> tuple[Runtime, ...]:
        """Those of one backend."""
        return tuple(runtime for runtime in self.all if runtime.backend is backend)

    def choose(self, entry: CatalogEntry, name: str | None = None) -> Runtime:
        """The runtime a model is to run in.

        Args:
            name: The one asked for; None means the model's settings, then the backend's default.
        """
        model = self._settings.model.get(entry.plain)
        wanted = name or (model.runtime if model else None) or self._default(entry.backend)
        runtime = self._found.get((wanted, entry.backend))
        if runtime is None:
            error = f"no runtime named {clean_line(wanted, limit=60)!r} runs {entry.backend}"
            return Runtime(wanted, entry.backend, sys.executable, "", error)
        if entry.backend is Backend.SIMULATED:
            return replace(runtime, version=f"simulated {entry.simulated_version or '1.0'}")
        return runtime

    def _default(self, backend: Backend) -> str:
        chosen = self._settings.runtimes.items()
        return next((n for n, r in chosen if r.backend is backend and r.default), DEFAULT_RUNTIME)
