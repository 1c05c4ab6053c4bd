"""What can be told of models without an engine: the catalog and the gate, read only.

Serves ``lmx models``, ``lmx explain`` and ``lmx doctor``. Reservations count as none, because
nobody is there who could have made any; quarantine and verdicts are read from the home's files.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.admission.facts import Facts
from engine.admission.signatures import load_signatures
from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import Catalog, resolve_path, scan
from engine.examiner import Examiner
from engine.face import LoadOptions
from engine.home.home import Home
from engine.home.statefile import StateFile
from engine.memory import default_budget, machine_memory
from engine.quarantine import Quarantine
from engine.registry import Registry
from engine.settings import Settings
from engine.types import Explanation, RuntimeView
from engine.workers.capability import Capabilities


class Inspection:
    """A look at this host's models from outside an engine. Takes no lock and loads nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        home = Home(settings.home)
        state = StateFile(home.state, time.time, readonly=True)
        registry = Registry(home.registry, time.time)
        quarantine = Quarantine(state, settings.quarantining, time.time)
        signatures, self.complaint = load_signatures(settings.signatures)
        self._facts = Facts(
            quarantined=quarantine.decision,
            verdict=registry.verdict,
            budget=default_budget(settings.memory_gb),
            available=machine_memory().available,
        )
        self._examiner = Examiner(settings, Capabilities(home.path), signatures)
        self._runtimes = self._examiner.find_runtimes()

    def runtimes(self) -> tuple[RuntimeView, ...]:
        """Every backend of this host; ``error`` says why one cannot be used."""
        return tuple(RuntimeView(r.name, r.backend, r.version, r.error) for r in self._runtimes)

    def tried_runtimes(self) -> tuple[RuntimeView, ...]:
        """As :meth:`runtimes`, and each backend was imported in a child, which takes seconds."""
        self._runtimes = self._examiner.find_runtimes(thorough=True)
        return self.runtimes()

    def models(self) -> tuple[CatalogEntry, ...]:
        """What is on disk, sorted by id."""
        return scan(self._settings).entries

    def explain(
        self, names: Sequence[str], options: LoadOptions | None = None
    ) -> Iterator[Explanation]:
        """Run the gate on each name: a path where it looks like one or exists, else a model id.

        Every runtime is asked once about all of them; each answer is made when it is drawn.
        """
        catalog = scan(self._settings)
        entries = [_entry(catalog, name) for name in names]
        self._examiner.prepare(entries, options)
        for entry in entries:
            yield self._examiner.examine(entry, options, self._facts)


def _entry(catalog: Catalog, name: str) -> CatalogEntry:
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # the home of a user that does not exist
        path = Path(name)
    entry = catalog.by_id.get(name)
    if entry is None or os.path.lexists(path):  # which answers, where Path.exists raises
        return resolve_path(path)
    return entry
