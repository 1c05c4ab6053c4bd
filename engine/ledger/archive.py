"""The registry from outside an engine: asked, exported, merged with another host's, verified.

Works beside a running engine, because every writer takes the ledger's lock, and without one.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.home import disk
from engine.home.home import Home
from engine.ledger.book import other_layout, parse, scan, whole_file
from engine.ledger.row import EVENTS, OUTCOMES, registry_line
from engine.registry import Registry, Tally
from engine.settings import Settings
from engine.text import clean_line
from engine.types import RegistryRow

IMPORT_LIMIT = 1024 * 1024 * 1024
"""Bytes of the longest export that is read; a ledger of a million rows has some 500 MB."""


class ArchiveTrouble(Exception):
    """An export cannot be read or written; the message says why, in a sentence for people."""


def host_name() -> str:
    """What this host calls itself, without its domain."""
    return clean_line(socket.gethostname().partition(".")[0], limit=120) or "unnamed"


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of an import."""

    added: int
    known: int
    """Rows that were here already."""
    refused: int
    """Whole records with an outcome or an event this version does not know."""
    damaged: int
    """Pieces that are no record."""
    origins: dict[str, int] = field(default_factory=dict)
    """How many readable rows came from which host."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The state of the ledger, after whatever was damaged has been mended."""

    path: str
    rows: int
    imported: int
    """Rows of other hosts."""
    unknown: int
    """Whole records with an outcome or an event this version does not know; kept as they are."""
    damage: tuple[str, ...]
    """What was found damaged now and where its bytes went, for people."""
    damaged_bytes: int
    kept_in: tuple[str, ...]
    """The files with the damaged bytes of this time."""
    earlier: tuple[str, ...]
    """The files with damaged bytes of earlier times."""
    trouble: str
    """Why it could not be read or mended, or empty."""

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.damage and not self.trouble


class Archive:
    """One home's registry, for a command.

    Args:
        settings: Whose home it is.
        clock: Unix seconds, for the names of files damaged bytes are kept in.
        host: The name of this host, which its rows bear as origin once they are exported.
        registry: The running engine's own, instead of a second one on the same file.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        host: str | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._path = Home(settings.home).registry
        self._before = set(self._asides())
        self._registry = registry or Registry(self._path, clock)
        self.host = host or host_name()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found damaged when it was opened, and what is wrong with it now."""
        trouble = self._registry.trouble
        return (*self._registry.warnings, *((trouble,) if trouble else ()))

    def rows(
        self,
        model_id: str | None = None,
        backend: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[RegistryRow, ...]:
        """The rows that fit every given filter, newest first; see :meth:`Registry.rows`."""
        self._registry.refresh()
        return self._registry.rows(model_id, backend, outcome, since, limit)

    def count(
        self,
        model_id: str | None = None,
        backend: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
    ) -> int:
        """How many rows fit every given filter; reads none of them."""
        self._registry.refresh()
        return self._registry.count(model_id, backend, outcome, since)

    def summary(self) -> dict[str, Tally]:
        """How every model has fared, by model id."""
        self._registry.refresh()
        return dict(sorted(self._registry.summary().items()))

    # -- export ---------------------------------------------------------------------------------

    def exported(self) -> tuple[bytes, int]:
        """The whole ledger, every row with its origin, as a ledger of its own; and how many rows.

        Rows that were imported here keep the origin they came with.
        """
        bodies = [body for row in reversed(self.rows()) if (body := self._with_origin(row))]
        return whole_file(bodies), len(bodies)

    def _with_origin(self, row: RegistryRow) -> bytes:
        if not row.metadata.get("origin"):
            row = replace(row, metadata={**row.metadata, "origin": self.host})
        try:
            return registry_line(row)
        except ValueError:  # of another program or a later version; `verify` counts these
            return b""

    def export_to(self, target: Path) -> int:
        """Write the export to a file, in one step, private to this user. Returns how many rows.

        Raises:
            ArchiveTrouble: it cannot be written, or is the ledger itself.
        """
        if Path(os.path.realpath(target)) == self._registry.path:
            raise ArchiveTrouble(f"{clean_line(str(target))} is the registry itself")
        data, count = self.exported()
        try:
            if target.exists() and not target.is_file():  # a pipe or /dev/stdout
                target.write_bytes(data)
            else:
                disk.replace(target, data)
        except OSError as error:
            why = error.strerror or error
            raise ArchiveTrouble(f"{clean_line(str(target))} cannot be written: {why}") from error
        return count

    # -- import ---------------------------------------------------------------------------------

    def merge(self, source: Path, origin: str | None = None) -> Merged:
        """Take in another host's export. The same rows twice are taken in once.

        Imported rows are evidence: they are listed and counted, and decide nothing, because a
        verdict is about this host's processor, drivers and memory too. Rows of this very host are
        its own again (see :meth:`Registry.merge`).

        Args:
            origin: The host that rows come from which name none: a ledger copied as it lay.

        Raises:
            ArchiveTrouble: the file cannot be read, holds no rows, or rows name no origin.
            RegistryTrouble: this ledger cannot be written.
        """
        try:
            data = disk.read(source, IMPORT_LIMIT + 1)
        except OSError as error:
            why = error.strerror or error
            raise ArchiveTrouble(f"{clean_line(str(source))} cannot be read: {why}") from error
        if len(data) > IMPORT_LIMIT:
            raise ArchiveTrouble(f"{clean_line(str(source))} is longer than {IMPORT_LIMIT:,} bytes")
        return self.merge_bytes(data, clean_line(str(source)), origin)

    def merge_bytes(self, data: bytes, name: str, origin: str | None = None) -> Merged:
        """As :meth:`merge`, of an export that is in memory.

        Args:
            name: What it is called when it holds nothing.
        """
        bodies, damaged = _records(data)
        if not bodies and damaged:
            raise ArchiveTrouble(f"{name} holds no registry rows")
        named = clean_line(origin, limit=120) if origin else ""
        rows = list(_rows(bodies, named))
        nameless = sum(not row.metadata.get("origin") for row in rows)
        if nameless:
            raise ArchiveTrouble(
                f"{nameless:,} rows name no origin: make the file with `lmx registry export`, "
                "or say whose it is with --origin HOST"
            )
        added = self._registry.merge(rows, self.host)
        return Merged(
            added=added,
            known=len(rows) - added,
            refused=len(bodies) - len(rows),
            damaged=damaged,
            origins=dict(Counter(str(row.metadata["origin"]) for row in rows)),
        )

    # -- verify ---------------------------------------------------------------------------------

    def verify(self) -> Verified:
        """Read every byte; what is damaged is mended and its bytes are kept in a file beside."""
        rows = self.rows()
        fresh = [path for path in self._asides() if path not in self._before]
        return Verified(
            path=str(self._path),
            rows=len(rows),
            imported=sum(bool(row.metadata.get("origin")) for row in rows),
            unknown=sum(not _known(row) for row in rows),
            damage=self._registry.warnings,
            damaged_bytes=sum(path.stat().st_size for path in fresh),
            kept_in=tuple(str(path) for path in fresh),
            earlier=tuple(str(path) for path in sorted(self._before)),
            trouble=self._registry.trouble or "",
        )

    def _asides(self) -> list[Path]:
        real = Path(os.path.realpath(self._path))
        return sorted(real.parent.glob(f"{real.name}.corrupt-*"))


def _records(data: bytes) -> tuple[list[bytes], int]:
    """The whole records of an export, as JSON, and how many other pieces it holds."""
    found = scan(data, 0, first=True)
    if found.damaged and (laid_out := other_layout(data)) is not None:
        good, bad = laid_out
        return good, len(bad)
    return [data[r.offset : r.offset + r.length] for r in found.records], len(found.damaged)


def _rows(bodies: list[bytes], origin: str) -> Iterator[RegistryRow]:
    """The rows this version knows, each with its origin; what they say is cleaned."""
    for body in bodies:
        content = parse(body)
        if content is None:
            continue
        row = RegistryRow(**content)
        if origin and not row.metadata.get("origin"):
            row = replace(row, metadata={**row.metadata, "origin": origin})
        try:
            clean = parse(registry_line(row))
        except (ValueError, TypeError, OverflowError):
            continue
        if clean is not None:
            yield RegistryRow(**clean)


def _known(row: RegistryRow) -> bool:
    return row.outcome in OUTCOMES and row.metadata.get("event") in EVENTS
