"""Puts together what the gate must know of host, runtime and ledger, and asks it.

Used by the engine before every load, and by ``lmx explain`` without one. Blocks on disk and on a
child process; the engine calls it off its event loop.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from engine.admission.facts import Facts
from engine.admission.gate import explain
from engine.admission.questions import questions
from engine.admission.signatures import Signature
from engine.catalog.entry import CatalogEntry
from engine.catalog.fingerprint import fingerprint
from engine.face import LoadOptions
from engine.model import Runtime
from engine.settings import Settings
from engine.types import Backend, Explanation
from engine.workers.capability import Capabilities

DEFAULT_RUNTIME = "default"


class Examiner:
    """Runs the gate with everything it needs."""

    def __init__(
        self,
        settings: Settings,
        capabilities: Capabilities,
        signatures: tuple[Signature, ...],
        facts: Callable[[], Facts],
    ) -> None:
        """Args:
        facts: What of the world changes between two questions: ledger, quarantine and room.
        """
        self._settings = settings
        self._capabilities = capabilities
        self._signatures = signatures
        self._facts = facts
        self._runtimes: Mapping[tuple[str, Backend], Runtime] = {}

    def find_runtimes(self) -> tuple[Runtime, ...]:
        """Every runtime of this host with its versions; a missing backend has its ``error`` set."""
        wanted = [(DEFAULT_RUNTIME, backend, sys.executable) for backend in Backend]
        wanted += [(n, r.backend, str(r.python)) for n, r in self._settings.runtimes.items()]
        found: dict[tuple[str, Backend], Runtime] = {}
        for name, backend, python in wanted:
            view = self._capabilities.versions(backend, Path(python), name)
            found[name, backend] = Runtime(name, backend, python, view.version, view.error)
        self._runtimes = found
        return tuple(found.values())

    def runtime(self, entry: CatalogEntry, name: str | None = None) -> Runtime:
        """The runtime a model is to run in.

        Args:
            name: The one asked for; None means the model's settings, then the default.
        """
        model = self._settings.model.get(entry.id)
        wanted = name or (model.runtime if model else None) or DEFAULT_RUNTIME
        runtime = self._runtimes.get((wanted, entry.backend))
        if runtime is None:
            error = f"no runtime named {wanted!r} runs {entry.backend}"
            return Runtime(wanted, entry.backend, sys.executable, "", error)
        if entry.backend is Backend.SIMULATED:
            return replace(runtime, version=f"simulated {entry.simulated_version or '1.0'}")
        return runtime

    def context(self, entry: CatalogEntry, options: LoadOptions) -> int:
        """The context length of a load, in tokens: asked for, set for the model, or the default
        where the model was trained for as much."""
        model = self._settings.model.get(entry.id)
        if chosen := options.context or (model.context if model else None):
            return chosen
        return min(self._settings.context, entry.context_trained or self._settings.context)

    def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions | None = None,
        *,
        release: bool = False,
        print_of: str = "",
    ) -> Explanation:
        """Run the gate on one model.

        Args:
            release: The operator releases it from quarantine: the registry check is skipped.
            print_of: The fingerprint, where the caller has just taken it.
        """
        options = options or LoadOptions()
        runtime = self.runtime(entry, options.runtime)
        model = self._settings.model.get(entry.id)
        if options.reserve_gb is None and model is not None and model.reserve_gb:
            options = replace(options, reserve_gb=model.reserve_gb)
        runtime = self._ask(entry, runtime)
        facts = replace(
            self._facts(),
            runtime=runtime.name,
            backend_version=runtime.version,
            backend_error=runtime.error,
            supports=lambda arch: self._capabilities.known(runtime.version, entry.backend, arch),
            ggml_types=self._capabilities.ggml_types(runtime.version),
            signatures=self._signatures,
            roots=self._settings.folders,
            context=self.context(entry, options),
            slots=self._settings.slots,
            fingerprint=print_of or fingerprint(entry),
        )
        return explain(entry, facts, options, release=release)

    def _ask(self, entry: CatalogEntry, runtime: Runtime) -> Runtime:
        """Have the runtime asked what it has not been asked yet about this model.

        A backend that dies at import shows itself only here; the runtime then has its ``error``.
        """
        if runtime.error or entry.backend is Backend.SIMULATED:
            return runtime
        known = self._capabilities.known
        unasked = [
            question
            for question in questions(entry)
            if known(runtime.version, entry.backend, question) is None
        ]
        if not unasked:
            return runtime
        answer = self._capabilities.ask(entry.backend, Path(runtime.python), unasked)
        return replace(runtime, error=answer.error)
