"""The compatibility registry: what passed and what failed, on which backend version, for good."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.ledger.book import Record, digest, parse
from engine.ledger.file import LedgerFile, Read, RegistryTrouble
from engine.ledger.row import (
    VERDICTS,
    About,
    about_of,
    content_of,
    is_known,
    registry_line,
    row_of,
    without_origin,
)
from engine.text import clean_line
from engine.types import Backend, Key, RegistryRow

__all__ = ["VERDICTS", "Registry", "RegistryTrouble", "Tally"]

_RECENT = 512


@dataclass(frozen=True, slots=True)
class Tally:
    """How one model has fared so far. ``latest_ts`` is Unix seconds."""

    total: int
    passed: int
    failed: int
    latest_ts: float

    def as_dict(self) -> dict[str, float]:
        """The summary entry of the admin API."""
        return {
            "total": self.total,
            "pass": self.passed,
            "fail": self.failed,
            "latest_ts": self.latest_ts,
        }


class Registry:
    """The ledger in memory and on disk; every method may be called from any thread.

    Reading and opening never raise: ``trouble`` says what is wrong, ``warnings`` what was mended.

    Args:
        path: ``compatibility-registry.json``; it is created by the first append.
        clock: Unix seconds, for the names of files damaged bytes are kept in.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._file = LedgerFile(path, clock)
        # Whoever writes may have to wait for another process; readers must not wait with it.
        self._writing = threading.RLock()
        self._mutex = threading.RLock()
        self._lines: list[Record] = []
        self._verdicts: dict[About, Record] = {}
        self._totals: dict[str, int] = {}
        self._passed: dict[str, int] = {}
        self._latest: dict[str, float] = {}
        self._recent: dict[int, RegistryRow] = {}
        self._pending: list[tuple[bytes, RegistryRow]] = []
        self._doubtful: set[bytes] = set()
        self.trouble: str | None = None
        """Why the file cannot be read, mended or written now, in a sentence; None when it can."""
        self.refresh()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found damaged since this object was made, and where the damaged bytes are."""
        return tuple(self._file.warnings)

    @property
    def path(self) -> Path:
        """The ledger itself."""
        return self._file.path

    @property
    def pending(self) -> int:
        """Rows known here that could not be written yet."""
        return len(self._pending)

    @property
    def total(self) -> int:
        """All rows, those not written yet included."""
        return len(self._lines) + len(self._pending)

    def refresh(self) -> bool:
        """Take in rows that other processes have written; one system call when there are none.

        Returns whether anything changed.
        """
        with self._writing:
            with self._mutex:
                if not self._file.changed():
                    return False
                before = len(self._lines)
                look = self._file.look(repair=False)
                self._take_in(look)
                torn = self._file.changed()  # not at rest: damaged, or just being appended to
            if torn:
                with suppress(RegistryTrouble), self._file.locked(), self._mutex:
                    look = self._file.look(repair=True)
                    self._take_in(look)
            self.trouble = str(look.trouble) if look.trouble else None
            return look.reset or len(self._lines) != before

    def append(self, row: RegistryRow) -> None:
        """Remember a row and make it durable; its cost does not depend on how many there are.

        Raises:
            RegistryTrouble: it is remembered here but not on disk; the next append, or
                ``flush_pending``, tries again.
            ValueError: the outcome or the event is none the ledger knows; a mistake of ours.
        """
        line = registry_line(row)
        content = parse(line)
        if content is None:
            raise ValueError(f"no registry row: {line[:200]!r}")
        with self._mutex:
            self._pending.append((line, row_of(content)))
        self.flush_pending()

    def flush_pending(self) -> int:
        """Write what could not be written before and return how many rows that were.

        Raises:
            RegistryTrouble: it still cannot be written.
        """
        with self._writing:
            if not self._pending:
                return 0
            try:
                with self._file.locked(), self._mutex:
                    return self._write_pending()
            except RegistryTrouble as trouble:
                self.trouble = str(trouble)
                raise

    def merge(self, rows: Iterable[RegistryRow], here: str) -> int:
        """Append those of another ledger's rows that are not here yet, in one write.

        Every row names its origin. One whose origin is ``here`` comes home, from a backup say: it
        is this host's own again and may decide, unless its case has been decided here since.

        Args:
            here: The name of this host.

        Returns:
            How many rows were new.

        Raises:
            RegistryTrouble: nothing could be written.
            ValueError: a row is none the ledger knows.
        """

        def identity(row: RegistryRow) -> tuple[str, bytes]:
            return str(row.metadata.get("origin") or here), registry_line(without_origin(row))

        incoming = list(rows)
        moments = {round(row.ts, 6) for row in incoming}
        try:
            with self._writing, self._file.locked(), self._mutex:
                self._write_pending()
                decided = set(self._verdicts)
                alike = [found for found in self._lines if round(found.ts, 6) in moments]
                there = {identity(self._again(found)) for found in alike if is_known(found)}
                for row in incoming:
                    if (same := identity(row)) in there:
                        continue
                    there.add(same)
                    home = same[0] == here and about_of(without_origin(row)) not in decided
                    line = registry_line(without_origin(row) if home else row)
                    self._pending.append((line, without_origin(row) if home else row))
                return self._write_pending()
        except RegistryTrouble as trouble:
            self.trouble = str(trouble)
            raise

    def _write_pending(self) -> int:
        look = self._file.look(repair=True)
        self._take_in(look)
        if look.trouble is not None:
            raise look.trouble
        lines = [line for line, _ in self._pending]
        self._doubtful.update(lines)
        offsets = self._file.append(lines) if lines else []
        for offset, (line, row) in zip(offsets, self._pending, strict=True):
            self._index(digest(offset, len(line), content_of(row)))
            self._recent[offset] = row
        self._pending.clear()
        self._doubtful.clear()
        self._forget_old_rows()
        self.trouble = None
        return len(offsets)

    def _take_in(self, look: Read) -> None:
        if look.reset:
            for table in (self._lines, self._verdicts, self._totals, self._passed, self._latest):
                table.clear()
            self._recent.clear()
        for found in look.records:
            self._index(found)
        if self._doubtful and look.records:
            # A write that failed may have reached the disk all the same; mending kept it.
            there = self._doubtful & {self._file.read(found) for found in look.records}
            self._pending = [(line, row) for line, row in self._pending if line not in there]

    def _index(self, found: Record) -> None:
        self._lines.append(found)
        if (about := about_of(found)) is not None:
            self._verdicts[about] = found
        model_id = found.model_id
        self._totals[model_id] = self._totals.get(model_id, 0) + 1
        if found.outcome == "pass":
            self._passed[model_id] = self._passed.get(model_id, 0) + 1
        self._latest[model_id] = found.ts

    def _forget_old_rows(self) -> None:
        while len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def verdict(self, key: Key) -> RegistryRow | None:
        """The newest canary or quarantine row about this content on this backend version.

        Newest is what was written last, not what bears the latest time: clocks jump.
        """
        with self._mutex:
            about = (key.fingerprint, str(key.backend), key.backend_version, key.host_class)
            return self._verdict(about)

    def _verdict(self, about: About) -> RegistryRow | None:
        for _, row in reversed(self._pending):
            if about_of(row) == about:
                return row
        found = self._verdicts.get(about)
        return None if found is None else self._again(found)

    def verdicts(self) -> dict[Key, RegistryRow]:
        """Every verdict there is, by what it is about."""
        with self._mutex:
            abouts = {*self._verdicts, *(about_of(row) for _, row in self._pending)}
            known = {str(backend) for backend in Backend}
            return {
                Key(about[0], Backend(about[1]), *about[2:], str(row.metadata.get("host", ""))): row
                for about in abouts
                if about is not None and about[1] in known
                if (row := self._verdict(about)) is not None
            }

    def judged_elsewhere(
        self, installed: Mapping[tuple[str, str], str]
    ) -> dict[tuple[str, str], list[RegistryRow]]:
        """The verdicts on models that have none on the version installed now, newest first.

        Args:
            installed: The backend version by model id and backend.
        """
        with self._mutex:
            current: set[tuple[str, str]] = set()
            others: dict[tuple[str, str], list[Record]] = {}
            for found in self._verdicts.values():
                model = found.model_id, found.backend
                if installed.get(model) == found.backend_version:
                    current.add(model)
                elif model in installed:
                    others.setdefault(model, []).append(found)
            for _, row in self._pending:
                model = row.model_id, row.backend
                if about_of(row) is not None and installed.get(model) == row.backend_version:
                    current.add(model)
            return {
                model: [self._again(f) for f in sorted(found, key=lambda r: -r.offset)]
                for model, found in others.items()
                if model not in current
            }

    def rows(
        self,
        model_id: str | None = None,
        backend: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[RegistryRow, ...]:
        """The rows that fit every given filter, newest first.

        Args:
            since: Unix seconds; only rows of that moment or later.
            limit: At most so many.
        """
        fits = _filter(model_id, backend, outcome, since)

        def newest_first() -> Iterator[RegistryRow]:
            yield from (row for _, row in reversed(self._pending) if fits(row))
            for line in reversed(self._lines):
                if fits(line):
                    yield self._again(line)

        with self._mutex:
            found: list[RegistryRow] = []
            if limit is not None and limit <= 0:
                return ()
            for fitting in newest_first():
                found.append(fitting)
                if limit is not None and len(found) >= limit:
                    break
            self._forget_old_rows()
            return tuple(found)

    def count(
        self,
        model_id: str | None = None,
        backend: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
    ) -> int:
        """How many rows fit, as in :meth:`rows`; reads none of them from the disk."""
        fits = _filter(model_id, backend, outcome, since)
        with self._mutex:
            written = sum(fits(line) for line in self._lines)
            return written + sum(fits(row) for _, row in self._pending)

    def _again(self, found: Record) -> RegistryRow:
        row = self._recent.get(found.offset)
        if row is not None:
            return row
        content = parse(self._file.read(found))
        if content is None:
            # Unreadable now; what is known still decides, or trouble would un-quarantine.
            metadata = {"event": found.event, "fingerprint": found.fingerprint}
            if found.origin:
                metadata["origin"] = found.origin
            if found.host_class:
                metadata["host_class"] = found.host_class
            _, _, ts, model_id, backend, version, outcome, *_ = found
            return RegistryRow(ts, model_id, backend, version, outcome, "", metadata)
        row = self._recent[found.offset] = row_of(content)
        return row

    def summary(self) -> dict[str, Tally]:
        """How every model has fared, by model id."""
        with self._mutex:
            totals, passed = Counter(self._totals), Counter(self._passed)
            latest = dict(self._latest)
            for _, row in self._pending:
                totals[row.model_id] += 1
                passed[row.model_id] += row.outcome == "pass"
                latest[row.model_id] = row.ts
            return {
                name: Tally(total, passed[name], total - passed[name], latest[name])
                for name, total in totals.items()
            }

    def close(self) -> None:
        """Let go of the file. Rows still pending are lost unless they were flushed before."""
        with self._mutex:
            self._file.close()


def _filter(
    model_id: str | None, backend: str | None, outcome: str | None, since: float | None
) -> Callable[[Record | RegistryRow], bool]:
    """Whether a line fits every filter that is not None."""
    model_id = None if model_id is None else clean_line(model_id)

    def fits(line: Record | RegistryRow) -> bool:
        return (
            (model_id is None or line.model_id == model_id)
            and (backend is None or line.backend == backend)
            and (outcome is None or line.outcome == outcome)
            and (since is None or line.ts >= since)
        )

    return fits
