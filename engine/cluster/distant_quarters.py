"""Another host's files and runtimes, asked of its agent."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine.catalog.entry import CatalogEntry
from engine.catalog.scan import Catalog
from engine.cluster.letters import Report
from engine.cluster.link import Link
from engine.face import LoadOptions
from engine.fleet.quarters import Known
from engine.fleet.runtimes import Runtime, Runtimes
from engine.settings import Settings
from engine.types import Explanation
from engine.workers.ports import Held


class DistantQuarters:
    """Implements :class:`engine.fleet.quarters.Quarters`.

    An agent knows its models by the names its own scan gave them; what the engine calls a copy of
    another host's model stays here.
    """

    def __init__(self, link: Link, settings: Settings, report: Report) -> None:
        self.runtimes = Runtimes(settings, report.runtimes)
        self.state_dir: Path = report.state_dir
        self._link = link
        self._limits: dict[Runtime, int | None] = {}

    def _there(self, entry: CatalogEntry) -> CatalogEntry:
        return replace(entry, id=entry.plain, own_id="")

    async def scan(self) -> Catalog:
        """Find every model there; its runtimes are looked at again first."""
        report: Report = await self._link.ask("report")
        self.runtimes.update(report.runtimes)
        found: Catalog = await self._link.ask("scan")
        return found

    async def fingerprint(self, entry: CatalogEntry) -> str:
        """The identity of a model's content."""
        return str(await self._link.ask("fingerprint", self._there(entry)))

    async def stamp(self, entry: CatalogEntry) -> str:
        """The inodes, sizes and times of its files."""
        return str(await self._link.ask("stamp", self._there(entry)))

    async def warm(self, entry: CatalogEntry, options: LoadOptions, known: Known) -> None:
        """Nothing: what a load reads ahead is not worth a call that cannot be taken back."""

    async def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions,
        known: Known,
        *,
        release: bool,
        print_of: str,
    ) -> Explanation:
        """Run the gate there."""
        there = self._there(entry)
        answer: tuple[Explanation, int | None] = await self._link.ask(
            "examine", there, options, known, release, print_of
        )
        found, limit = answer
        self._limits[self.runtimes.choose(there, options.runtime)] = limit
        return replace(found, model_id=entry.id)

    async def probe(
        self, entry: CatalogEntry, options: LoadOptions, known: Known, *, print_of: str
    ) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""
        answer: tuple[Iterable[Explanation], Iterable[Runtime]] = await self._link.ask(
            "probe", self._there(entry), options, known, print_of
        )
        found, runtimes = answer
        self.runtimes.update(runtimes)
        return tuple(replace(each, model_id=entry.id) for each in found)

    def device_limit(self, runtime: Runtime) -> int | None:
        """Bytes this runtime's device can hold; None where it sets no limit, or was not asked."""
        return self._limits.get(runtime)

    async def ports(self, count: int, address: str) -> Held:
        """Keep so many ports of this address there for ranks to meet at."""
        return await self._link.ports(count, address)
