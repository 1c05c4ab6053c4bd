"""A registry row as it is written: seven clean, bounded fields on one line; what it is about."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.ledger import record
from engine.ledger.book import FIELDS, Record
from engine.text import clean_line
from engine.types import RegistryRow

EVENTS = frozenset({"canary", "quarantine", "strike", "refusal", "environment"})
VERDICTS = frozenset({"canary", "quarantine"})
"""The events whose newest row is the verdict; the others are evidence only."""
OUTCOMES = frozenset({"pass", "fail"})
LINE_LIMIT = 64 * 1024
"""Longest record in bytes; one with more loses its metadata but what it is about and where from."""
About = tuple[str, str, str, str]
"""Fingerprint, backend, its version, and the class of host."""


def content_of(row: RegistryRow) -> dict[str, Any]:
    """The seven fields by name."""
    return {name: getattr(row, name) for name in FIELDS}


def row_of(content: Mapping[str, Any]) -> RegistryRow:
    """The row of a record that :func:`engine.ledger.book.parse` has accepted."""
    return RegistryRow(**content)


def about_of(row: RegistryRow | Record) -> About | None:
    """What this row is a verdict on, or None when it is evidence only.

    A row with an origin was imported: another host's processor, drivers and memory are not this
    one's, so what passed or failed there decides nothing here.
    """
    if isinstance(row, Record):
        event, fingerprint, origin, kind = row.event, row.fingerprint, row.origin, row.host_class
    else:
        event = str(row.metadata.get("event", ""))
        fingerprint = str(row.metadata.get("fingerprint", ""))
        origin = str(row.metadata.get("origin", ""))
        kind = str(row.metadata.get("host_class", ""))
    about = (fingerprint, row.backend, row.backend_version, kind)
    return about if event in VERDICTS and not origin else None


def is_known(found: Record) -> bool:
    """Whether this version knows its outcome and event; others wrote it otherwise."""
    return found.outcome in OUTCOMES and found.event in EVENTS


def without_origin(row: RegistryRow) -> RegistryRow:
    """The row as the host wrote it that it came from."""
    metadata = {name: value for name, value in row.metadata.items() if name != "origin"}
    return replace(row, metadata=metadata)


def registry_line(row: RegistryRow) -> bytes:
    """The record as it goes into the file: seven fields, clean, bounded, on one line.

    Raises:
        ValueError: it has an outcome or an event the ledger does not know.
    """
    event = row.metadata.get("event")
    if row.outcome not in OUTCOMES or event not in EVENTS:
        raise ValueError(f"no registry row: outcome {row.outcome!r}, event {event!r}")
    first: dict[str, object] = {
        "event": event,
        "fingerprint": str(row.metadata.get("fingerprint", "")),
    }
    for name in ("origin", "host", "host_class"):
        if value := row.metadata.get(name):
            first[name] = clean_line(str(value), limit=120)
    content: dict[str, object] = {
        "ts": round(float(row.ts), 6),
        "model_id": clean_line(row.model_id),
        "backend": clean_line(row.backend),
        "backend_version": clean_line(row.backend_version),
        "outcome": row.outcome,
        "reason": clean_line(row.reason, limit=2000),
        "metadata": record.plain(first | dict(row.metadata) | first),
    }
    line = record.encode(content)
    if len(line) > LINE_LIMIT:
        line = record.encode({**content, "metadata": {**first, "cut": f"{len(line)} bytes"}})
    return line
