"""What the registry says of this content on this backend version."""

from collections.abc import Mapping

from engine.admission import answer
from engine.admission.subject import Subject
from engine.errors import Code
from engine.text import clean_line
from engine.types import Check

CHECK = "registry"
_EXPECTED = "no failure of this content on this backend version"


def check(subject: Subject) -> Check:
    """Refuse what has failed here before, with the evidence; say so when it was never tried.

    A new backend version, a repaired file (another fingerprint, or only another stamp: inode, size
    or time) or an override asks the question anew. A release goes
    without this check: the failure on record is the one it is released from.
    """
    if not subject.key.fingerprint:
        return answer.unknown(CHECK, _EXPECTED, "the files could not be fingerprinted")
    if not subject.key.backend_version:
        return answer.unknown(CHECK, _EXPECTED, "the backend's version is not known")
    row = subject.verdict
    if row is None:
        return answer.passed(CHECK, _EXPECTED, f"never tried here on {subject.key.backend_version}")
    event = str(row.metadata.get("event", "canary"))
    if row.outcome != "fail":
        return answer.passed(CHECK, _EXPECTED, f"passed its canary on {row.backend_version}")
    if subject.release:
        return answer.skipped(CHECK, _EXPECTED, f"a release goes without it ({row.reason})")
    before = row.metadata.get("stamp")
    if isinstance(before, str) and before and subject.facts.stamp not in ("", before):
        # A repair of a few bytes may lie between the blocks that make the fingerprint.
        return answer.passed(CHECK, _EXPECTED, "its files were touched since it failed here")
    return answer.failed(
        CHECK,
        Code.MODEL_UNSUPPORTED_BACKEND,
        f"it failed on {row.backend_version} before: {row.reason}",
        expected=_EXPECTED,
        found=f"fail ({event}) as {row.model_id}: {row.reason}",
        remedy="upgrade the backend or repair the files and it will be tried again; "
        "or load with allow_unsupported_runtime",
        overridable=True,
    )


def evidence_id(subject: Subject) -> str | None:
    """The id of the evidence a refusal of this check rests on, where any was kept."""
    row = subject.verdict
    evidence = row.metadata.get("evidence") if row is not None else None
    found = evidence.get("id") if isinstance(evidence, Mapping) else None
    return clean_line(found, limit=64) if isinstance(found, str) and found else None
