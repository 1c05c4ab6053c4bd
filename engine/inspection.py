"""What can be told of models without an engine: the catalog and the gate, read only.

Serves ``lmx models``, ``lmx explain`` and ``lmx doctor``. Reservations count as none, because
nobody is there who could have made any; quarantine and verdicts are read from the home's files.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.admission.facts import Facts
from engine.admission.signatures import load_signatures
from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import resolve_path, scan
from engine.examiner import Examiner
from engine.face import LoadOptions
from engine.home import Home
from engine.memory import default_budget, machine_memory
from engine.quarantine import Quarantine
from engine.registry import Registry
from engine.settings import Settings
from engine.statefile import StateFile
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
        facts = Facts(
            quarantined=quarantine.decision,
            verdict=registry.verdict,
            budget=default_budget(settings.memory_gb),
            available=machine_memory().available,
        )
        self._examiner = Examiner(settings, Capabilities(home.path), signatures, lambda: facts)
        self._runtimes = self._examiner.find_runtimes()

    def runtimes(self) -> tuple[RuntimeView, ...]:
        """Every backend of this host; ``error`` says why one cannot be used."""
        return tuple(RuntimeView(r.name, r.backend, r.version, r.error) for r in self._runtimes)

    def models(self) -> tuple[CatalogEntry, ...]:
        """What is on disk, sorted by id."""
        return scan(self._settings).entries

    def explain(
        self, names: Sequence[str], options: LoadOptions | None = None
    ) -> Iterator[Explanation]:
        """Run the gate on each name: a path where it looks like one or exists, else a model id."""
        catalog = scan(self._settings)
        for name in names:
            path = Path(name).expanduser()
            entry = catalog.by_id.get(name)
            if entry is None or path.exists():
                entry = resolve_path(path.absolute())
            yield self._examiner.examine(entry, options)
