"""Puts together what the gate must know of host, runtime and ledger, and asks it.

Used by the engine before every load, and by ``lmx explain`` without one. Blocks on disk and on a
child process; the engine calls it off its event loop.
"""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine.admission.facts import Facts
from engine.admission.gate import explain
from engine.admission.questions import questions
from engine.admission.room import fits
from engine.admission.signatures import Signature
from engine.admission.subject import Subject
from engine.catalog.entry import CatalogEntry
from engine.catalog.fingerprint import fingerprint, stamp
from engine.face import LoadOptions
from engine.fleet.runtimes import Runtime, Runtimes
from engine.settings import DEFAULT_RUNTIME, Settings
from engine.types import Backend, Explanation
from engine.workers.capability import Capabilities


class Examiner:
    """Runs the gate with everything it needs."""

    def __init__(
        self,
        settings: Settings,
        capabilities: Capabilities,
        signatures: tuple[Signature, ...],
    ) -> None:
        self._settings = settings
        self._capabilities = capabilities
        self._signatures = signatures
        self.runtimes = Runtimes(settings)
        """What was found at the last look."""

    def find_runtimes(self, *, thorough: bool = False) -> tuple[Runtime, ...]:
        """Every runtime of this host with its versions; a missing backend has its ``error`` set.

        Args:
            thorough: Import each backend in a child, which takes seconds and shows a broken one.
        """
        look = self._capabilities.tried if thorough else self._capabilities.versions
        wanted = [(DEFAULT_RUNTIME, backend, sys.executable) for backend in Backend]
        wanted += [(n, r.backend, str(r.python)) for n, r in self._settings.runtimes.items()]
        for name, backend, python in wanted:
            view = look(backend, Path(python), name)
            found = Runtime(name, backend, python, view.version, view.error)
            self.runtimes.update((found,))
        return self.runtimes.all

    def try_runtimes(self, backend: Backend) -> tuple[Runtime, ...]:
        """Every runtime of a backend, imported in a child just now, which takes seconds."""
        tried = []
        for known in self.runtimes.of(backend):
            view = self._capabilities.tried(backend, Path(known.python), known.name)
            tried.append(replace(known, version=view.version, error=view.error))
        self.runtimes.update(tried)
        return tuple(tried)

    def context(self, entry: CatalogEntry, options: LoadOptions) -> int:
        """The context length of a load, in tokens: asked for, set for the model, or the default
        where the model was trained for as much."""
        model = self._settings.model.get(entry.plain)
        if chosen := options.context or (model.context if model else None):
            return chosen
        return min(self._settings.context, entry.context_trained or self._settings.context)

    def device_limit(self, runtime: Runtime) -> int | None:
        """Bytes this runtime's device can hold of all that is promised; None where it sets no
        limit of its own, or has not been asked."""
        if runtime.backend is not Backend.MLX:
            return None
        return self._capabilities.working_set(runtime.version)

    def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions | None,
        facts: Facts,
        *,
        release: bool = False,
        print_of: str = "",
    ) -> Explanation:
        """Run the gate on one model.

        Args:
            facts: What is known of the world besides the files: ledger, quarantine and room.
            release: The operator releases it from quarantine: the registry check is skipped.
            print_of: The fingerprint, where the caller has just taken it.
        """
        options = self._settled(entry, options or LoadOptions())
        runtime = self.runtimes.choose(entry, options.runtime)
        runtime = self._ask(entry, runtime, options.ranks or 1)
        facts = replace(
            facts,
            runtime=runtime.name,
            backend_version=runtime.version,
            backend_error=runtime.error,
            supports=lambda arch: self._capabilities.known(runtime.version, entry.backend, arch),
            requires=lambda arch: self._capabilities.requires(runtime.version, entry.backend, arch),
            ggml_types=self._capabilities.ggml_types(runtime.version),
            device_limit=self.device_limit(runtime),
            signatures=self._signatures,
            roots=self._settings.folders,
            context=self.context(entry, options),
            slots=self._settings.slots,
            fingerprint=print_of or fingerprint(entry),
            stamp=stamp(entry),
        )
        return explain(entry, facts, options, release=release)

    def _settled(self, entry: CatalogEntry, options: LoadOptions) -> LoadOptions:
        """The options with what the model's settings say where the load says nothing."""
        model = self._settings.model.get(entry.plain)
        if model is None:
            return options
        return replace(
            options,
            reserve_gb=options.reserve_gb or model.reserve_gb,
            ranks=options.ranks or model.ranks,
        )

    def fits(self, entry: CatalogEntry, options: LoadOptions, facts: Facts) -> bool:
        """Whether there certainly is room for a model, before the gate has looked at all of it."""
        options = self._settled(entry, options)
        facts = replace(
            facts,
            device_limit=self.device_limit(self.runtimes.choose(entry, options.runtime)),
            context=self.context(entry, options),
            slots=self._settings.slots,
        )
        return fits(Subject(entry, facts, options, release=False, fingerprint=""))

    def prepare(self, entries: Iterable[CatalogEntry], options: LoadOptions | None = None) -> None:
        """Have each runtime asked, in one child, what it has not been asked yet about these models.

        A child takes seconds to import its backend, so many models are examined in little more time
        than one. A runtime that cannot answer keeps its ``error`` until the runtimes are looked for
        again: it is not asked once more for every model.

        Args:
            options: How they would be loaded: the runtime and the ranks are asked for.
        """
        options = options or LoadOptions()
        unasked: dict[Runtime, set[str]] = {}
        for entry in entries:
            runtime = self.runtimes.choose(entry, options.runtime)
            ranks = self._settled(entry, options).ranks or 1
            if wanted := self._unasked(entry, runtime, ranks):
                unasked.setdefault(runtime, set()).update(wanted)
        for runtime, wanted in unasked.items():
            answer = self._capabilities.ask(runtime.backend, Path(runtime.python), wanted)
            self.runtimes.update((replace(runtime, error=answer.error),))

    def _unasked(self, entry: CatalogEntry, runtime: Runtime, ranks: int) -> set[str]:
        if runtime.error or entry.backend is Backend.SIMULATED:
            return set()
        known = self._capabilities.known
        asked = questions(entry, ranks)
        return {q for q in asked if known(runtime.version, entry.backend, q) is None}

    def _ask(self, entry: CatalogEntry, runtime: Runtime, ranks: int) -> Runtime:
        """Have the runtime asked what it has not been asked yet about this model.

        A backend that dies at import shows itself only here; the runtime then has its ``error``.
        """
        unasked = self._unasked(entry, runtime, ranks)
        moved = runtime.backend is Backend.MLX and self._capabilities.moved(runtime.version)
        if not unasked and not moved:
            return runtime
        answer = self._capabilities.ask(entry.backend, Path(runtime.python), unasked)
        return replace(runtime, error=answer.error)
