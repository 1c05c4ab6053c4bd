"""What an engine has done on a host: its files looked at, and the gate run beside them.

The gate reads hundreds of places of a model's files; it runs where they lie. What only the engine
knows, its ledger and its promises, goes to the gate as values.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from engine.admission.facts import Facts
from engine.catalog.entry import CatalogEntry
from engine.catalog.fingerprint import fingerprint, model_files, stamp
from engine.catalog.readahead import Readahead
from engine.catalog.scan import Catalog, scan
from engine.errors import Code, Decision, EngineError, refuse
from engine.examiner import Examiner
from engine.face import LoadOptions
from engine.fleet.runtimes import Runtime, Runtimes
from engine.settings import Settings
from engine.types import Backend, Explanation, Key, RegistryRow
from engine.workers.ports import Held, Ports


@dataclass(frozen=True, slots=True)
class Standing:
    """What ledger and quarantine say of one content on one backend version."""

    quarantined: Decision | None = None
    verdict: RegistryRow | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the engine tells the gate about one model; sizes in bytes."""

    budget: int
    reserved: int
    lost: int
    available: int
    elsewhere: int = 0
    """Room on other hosts that ranks of it may be given to."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """By the version of each runtime it could run in; under an empty one for any other."""

    def facts(self) -> Facts:
        """The same as the gate asks for it."""
        otherwise = self.standings.get("", Standing())

        def of(key: Key) -> Standing:
            return self.standings.get(key.backend_version, otherwise)

        return Facts(
            quarantined=lambda key, _: of(key).quarantined,
            verdict=lambda key: of(key).verdict,
            budget=self.budget,
            reserved=self.reserved,
            lost=self.lost,
            available=self.available,
            elsewhere=self.elsewhere,
        )


class Quarters(Protocol):
    """One host's files and runtimes, wherever the host is.

    Every method that waits may raise EngineError: the host is lost, or the way to it is cut.
    """

    @property
    def runtimes(self) -> Runtimes: ...

    @property
    def state_dir(self) -> Path:
        """Where simulated models keep count of their faults."""
        ...

    async def scan(self) -> Catalog:
        """Find every model there."""
        ...

    async def fingerprint(self, entry: CatalogEntry) -> str:
        """The identity of a model's content."""
        ...

    async def stamp(self, entry: CatalogEntry) -> str:
        """The inodes, sizes and times of its files."""
        ...

    async def warm(self, entry: CatalogEntry, options: LoadOptions, known: Known) -> None:
        """Have a model's files read into memory as long as this is not cancelled, if it fits;
        ``known`` need hold no standings. Nothing depends on it."""
        ...

    async def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions,
        known: Known,
        *,
        release: bool,
        print_of: str,
    ) -> Explanation:
        """Run the gate; see :meth:`engine.examiner.Examiner.examine`."""
        ...

    async def probe(
        self, entry: CatalogEntry, options: LoadOptions, known: Known, *, print_of: str
    ) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""
        ...

    def device_limit(self, runtime: Runtime) -> int | None:
        """Bytes this runtime's device can hold; None where it sets no limit, or was not asked."""
        ...

    async def ports(self, count: int, address: str) -> Held:
        """Keep so many ports of this address of the host's for ranks to meet at.

        Raises:
            EngineError: there are none.
        """
        ...


class OwnQuarters:
    """The machine this code runs on: the engine's own, or that of a node agent."""

    def __init__(self, settings: Settings, examiner: Examiner, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._settings = settings
        self._examiner = examiner

    @property
    def runtimes(self) -> Runtimes:
        """What was found at the last look."""
        return self._examiner.runtimes

    async def scan(self) -> Catalog:
        """Find every model of this machine."""
        return await asyncio.to_thread(scan, self._settings)

    async def fingerprint(self, entry: CatalogEntry) -> str:
        """The identity of a model's content."""
        return await asyncio.to_thread(fingerprint, entry)

    async def stamp(self, entry: CatalogEntry) -> str:
        """The inodes, sizes and times of its files."""
        return await asyncio.to_thread(stamp, entry)

    async def warm(self, entry: CatalogEntry, options: LoadOptions, known: Known) -> None:
        """Have a model's files read into memory as long as this is not cancelled, if it fits."""
        ahead = Readahead(entry.weight_bytes)

        def work() -> None:
            if self._examiner.fits(entry, options, known.facts()):
                content, weights = model_files(entry)
                ahead.ask((*content, *weights))

        try:
            await asyncio.to_thread(work)
        finally:
            ahead.stop()

    async def examine(
        self,
        entry: CatalogEntry,
        options: LoadOptions,
        known: Known,
        *,
        release: bool,
        print_of: str,
    ) -> Explanation:
        """Run the gate."""
        return await asyncio.to_thread(
            self._examiner.examine,
            entry,
            options,
            known.facts(),
            release=release,
            print_of=print_of,
        )

    async def probe(
        self, entry: CatalogEntry, options: LoadOptions, known: Known, *, print_of: str
    ) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""

        def work() -> tuple[Explanation, ...]:
            return tuple(
                self._examiner.examine(
                    entry,
                    replace(options, runtime=runtime.name),
                    known.facts(),
                    print_of=print_of,
                )
                for runtime in self._examiner.try_runtimes(entry.backend)
            )

        return await asyncio.to_thread(work)

    def device_limit(self, runtime: Runtime) -> int | None:
        """Bytes this runtime's device can hold; None where it sets no limit, or was not asked."""
        return self._examiner.device_limit(runtime)

    async def ports(self, count: int, address: str) -> Held:
        """Keep so many ports of this address for ranks to meet at."""
        try:
            return Ports(count, address)
        except OSError as error:
            raise EngineError(no_ports(address, str(error))) from error


def no_ports(address: str, why: str) -> Decision:
    """What is said where ranks cannot meet."""
    return refuse(
        Code.UNKNOWN_FAILURE,
        f"no port of {address} for the ranks to meet at: {why}",
        check="ring",
        expected="an address of this host",
        found=why,
        remedy="look at [hosts.NAME] ring in the settings",
    )


def versions(runtimes: Runtimes, entry: CatalogEntry) -> tuple[str, ...]:
    """The versions of the runtimes a model could run in."""
    names = (runtime.name for runtime in runtimes.of(Backend(entry.backend)))
    return tuple(dict.fromkeys(runtimes.choose(entry, name).version for name in names))
