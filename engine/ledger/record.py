"""What may stand in a file people read: cleaned, bounded values that are plain JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import Enum

from pydantic import TypeAdapter, ValidationError

from engine.text import clean, clean_line
from engine.types import Evidence

TEXT_LIMIT = 8 * 1024
"""Longest text in characters; of a native library's output the end is worth keeping."""
_ITEMS = 200
_DEPTH = 6
_REQUESTS = 64
_EVIDENCE = TypeAdapter(Evidence)


def tail(text: str, limit: int = TEXT_LIMIT) -> str:
    """Make text safe and keep its last ``limit`` characters, which hold the cause."""
    cleaned = clean(text[-4 * limit :])
    return cleaned if len(cleaned) <= limit else "…" + cleaned[-(limit - 1) :]


def plain(value: object, depth: int = _DEPTH) -> object:
    """Turn any value into JSON a strict reader accepts, cleaned and cut to a bounded size.

    NaN and infinities become text, because JSON has no such numbers and a canary's perplexity may
    well be one.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)[:40]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return tail(value)
    if depth <= 0:
        return clean_line(str(value))
    if isinstance(value, Mapping):
        some = list(value.items())[:_ITEMS]
        return {clean_line(str(key), limit=120): plain(item, depth - 1) for key, item in some}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth - 1) for item in list(value)[:_ITEMS]]
    return clean_line(str(value))


def encode(value: Mapping[str, object]) -> bytes:
    """One line of JSON without its newline; the order of the keys is kept for greppers."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def bounded(evidence: Evidence) -> Evidence:
    """The same evidence, safe to store and to show: every text cleaned and cut."""
    return replace(
        evidence,
        model_id=clean_line(evidence.model_id),
        cause=clean_line(evidence.cause, limit=200),
        detail=clean_line(evidence.detail, limit=2000),
        stderr_tail=tail(evidence.stderr_tail),
        requests=tuple(clean_line(line) for line in evidence.requests[:_REQUESTS]),
    )


def evidence_dict(evidence: Evidence) -> dict[str, object]:
    """Evidence as the registry and the event log carry it."""
    return asdict(bounded(evidence))


def read_evidence(value: object) -> Evidence | None:
    """Evidence out of a registry row's metadata, or None when it is none."""
    try:
        return _EVIDENCE.validate_python(value)
    except ValidationError:
        return None
