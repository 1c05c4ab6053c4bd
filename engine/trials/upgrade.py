"""After a backend upgrade: the models whose verdicts belong to another version than this one."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from engine.fleet.runtimes import Runtime
from engine.services import Services
from engine.settings import DEFAULT_RUNTIME
from engine.text import clean_line
from engine.types import Notice, RegistryRow

_About = tuple[str, str]
_NOTICE = "upgrade"


class Upgrade:
    """Keeps watch on what the registry says of the versions installed now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._seen: tuple[int, Mapping[_About, Runtime]] = (-1, {})
        self._shown: frozenset[str] = frozenset()
        self.models: tuple[str, ...] = ()
        """The ids of the models to be proved again, sorted."""

    async def look(self) -> None:
        """Bring ``models`` and the notices up to date; cheap while nothing has changed."""
        services = self._services
        runtimes = {
            (model.id, model.entry.backend.value): model.runtime
            for model in services.board.models.values()
            if model.runtime.version and not model.runtime.error
        }
        seen = (services.registry.total, runtimes)
        if seen == self._seen:
            return
        self._seen = seen
        found = await asyncio.to_thread(self._find, runtimes)
        self.models = tuple(sorted({model_id for model_id, _ in found}))
        by_runtime: dict[Runtime, list[RegistryRow]] = defaultdict(list)
        for about, row in found.items():
            by_runtime[runtimes[about]].append(row)
        notices = [_notice(runtime, rows) for runtime, rows in by_runtime.items()]
        for notice in notices:
            services.board.notice(notice)
        shown = frozenset(notice.id for notice in notices)
        for gone in self._shown - shown:
            services.board.unnotice(gone)
        self._shown = shown
        services.board.changed()

    def _find(self, runtimes: Mapping[_About, Runtime]) -> dict[_About, RegistryRow]:
        """The newest verdict on each model that has one in its runtime, and none on its version."""
        installed = {about: runtime.version for about, runtime in runtimes.items()}
        found: dict[_About, RegistryRow] = {}
        for about, rows in self._services.registry.judged_elsewhere(installed).items():
            name = runtimes[about].name
            # A trial on another runtime is no reason to prove a model again on this one.
            here = [row for row in rows if row.metadata.get("runtime", name) == name]
            if here:
                found[about] = here[0]
        return found


def _notice(runtime: Runtime, rows: list[RegistryRow]) -> Notice:
    versions = {row.backend_version for row in rows}
    count = "1 model was" if len(rows) == 1 else f"{len(rows)} models were"
    word = "proved" if all(row.outcome == "pass" for row in rows) else "tried"
    before = clean_line(versions.pop()) if len(versions) == 1 else "other versions"
    on = "" if runtime.name == DEFAULT_RUNTIME else f" --on {runtime.name}"
    again = "it" if len(rows) == 1 else "them"
    return Notice(
        f"{_NOTICE}-{runtime.name}-{runtime.version}",
        f"{count} {word} on {before}, not on {runtime.version} as installed now; "
        f"prove {again} again (A in the console, or `lmx canary --all{on}`)",
        "info",
    )
