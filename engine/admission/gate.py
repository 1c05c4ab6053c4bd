"""The gate: every check in order, each answered, the first failure decides.

Pure and bounded. It runs no native parser, renders no template, unpickles nothing and imports
nothing from the model's folder; the same files and facts give the same answer every time.
"""

from collections.abc import Callable
from dataclasses import replace

from engine.admission import (
    answer,
    architecture,
    blocklist,
    completeness,
    ledger,
    presence,
    quarantined,
    room,
    runnable,
    safety,
    split,
)
from engine.admission.facts import Facts
from engine.admission.subject import Subject
from engine.catalog.entry import CatalogEntry
from engine.catalog.fingerprint import fingerprint
from engine.errors import Code, Decision, refuse
from engine.face import LoadOptions
from engine.types import Check, CheckResult, Explanation, MemoryEstimate

ORDER = (
    quarantined.CHECK,
    presence.CHECK,
    safety.CHECK,
    completeness.CHECK,
    architecture.CHECK,
    runnable.CHECK,
    blocklist.CHECK,
    ledger.CHECK,
    room.CHECK,
)
"""The names of the checks, in the order in which they decide. A load that wants several ranks is
asked one more, the split, after what the backend can run at all and before what is known of it."""
OVERRIDABLE = frozenset({architecture.CHECK, runnable.CHECK, blocklist.CHECK, ledger.CHECK})
"""What ``allow_unsupported_runtime`` may skip; never quarantine, safety, completeness, memory."""
_STOPS = (presence.CHECK, safety.CHECK)
"""Once one of these fails, no further file is read: the rest cannot be answered."""
_NEEDS_FILES = frozenset(
    {
        safety.CHECK,
        completeness.CHECK,
        architecture.CHECK,
        runnable.CHECK,
        split.CHECK,
        blocklist.CHECK,
        room.CHECK,
    }
)


def explain(
    entry: CatalogEntry,
    facts: Facts,
    options: LoadOptions | None = None,
    *,
    release: bool = False,
) -> Explanation:
    """Judge one model without loading it.

    Args:
        facts: What the gate may know of the world; see :class:`Facts`.
        options: How it would be loaded; ``backend`` and ``runtime`` are the caller's to resolve.
        release: Whether it comes out of quarantine: then quarantine and registry do not refuse it.

    Returns:
        Every check in the design's order. It never raises for what the files hold.
    """
    options = options or LoadOptions()
    mark = facts.fingerprint or _fingerprint(entry)
    subject = Subject(entry, facts, options, release=release, fingerprint=mark)
    checks: list[Check] = []
    quarantine: Decision | None = None
    need: MemoryEstimate | None = None

    def ask_quarantine() -> Check:
        nonlocal quarantine
        check, quarantine = quarantined.judge(subject)
        return check

    def ask_room() -> Check:
        nonlocal need
        check, need = room.judge(subject)
        return check

    asks: dict[str, Callable[[], Check]] = {
        quarantined.CHECK: ask_quarantine,
        presence.CHECK: lambda: presence.check(subject),
        safety.CHECK: lambda: safety.check(subject),
        completeness.CHECK: lambda: completeness.check(subject),
        architecture.CHECK: lambda: architecture.check(subject),
        runnable.CHECK: lambda: runnable.check(subject),
        split.CHECK: lambda: split.check(subject),
        blocklist.CHECK: lambda: blocklist.check(subject),
        ledger.CHECK: lambda: ledger.check(subject),
        room.CHECK: ask_room,
    }
    stopped = ""
    for name in _order(options.ranks or 1):
        if stopped and name in _NEEDS_FILES:
            checks.append(answer.unknown(name, "", f"not asked: the check {stopped} failed"))
            continue
        check = _asked(name, asks[name])
        if options.allow_unsupported_runtime:
            check = _overridden(check)
        if check.result is CheckResult.FAIL and name in _STOPS:
            stopped = name
        checks.append(check)
    decision = _decision(checks, quarantine, subject)
    return Explanation(
        model_id=entry.id,
        path=str(entry.path),
        backend=entry.backend,
        backend_version=facts.backend_version,
        runtime=facts.runtime,
        admitted=decision is None,
        checks=tuple(checks),
        decision=decision,
        estimate=need,
        fingerprint=mark,
    )


def _order(ranks: int) -> tuple[str, ...]:
    if ranks == 1:
        return ORDER
    at = ORDER.index(runnable.CHECK) + 1
    return (*ORDER[:at], split.CHECK, *ORDER[at:])


def _fingerprint(entry: CatalogEntry) -> str:
    try:
        return fingerprint(entry)
    except Exception:  # unreadable files have none; presence or safety says why
        return ""


def _asked(name: str, ask: Callable[[], Check]) -> Check:
    """Ask one check. An exception is our own fault, told as such and never let out."""
    try:
        return ask()
    except Exception as error:  # the net under the gate
        kind = type(error).__name__
        return answer.failed(
            name,
            Code.UNKNOWN_FAILURE,
            f"the check {name} failed by itself: {kind}: {error}",
            expected="an answer",
            found=kind,
            remedy="report this with the model's name; the model is not loaded",
        )


def _overridden(check: Check) -> Check:
    """A refusal the operator chose to go without, still shown with its reason."""
    if check.result is not CheckResult.FAIL or not check.overridable:
        return check
    if check.check not in OVERRIDABLE:
        return check
    found = f"overridden; it would have refused: {check.message}"
    return answer.skipped(check.check, check.expected, found)


def _decision(
    checks: list[Check], quarantine: Decision | None, subject: Subject
) -> Decision | None:
    first = next((check for check in checks if check.result is CheckResult.FAIL), None)
    if first is None:
        return None
    if first.check == quarantined.CHECK and quarantine is not None:
        return quarantine
    code = Code(first.code) if first.code else Code.UNKNOWN_FAILURE
    # A check that failed by itself has judged nothing, and is not asked a second time.
    judged = first.check == ledger.CHECK and code is not Code.UNKNOWN_FAILURE
    decision = refuse(
        code,
        first.message,
        check=first.check,
        expected=first.expected,
        found=first.found,
        remedy=first.remedy,
        evidence_id=ledger.evidence_id(subject) if judged else None,
    )
    # The table speaks of the code; whether this very failure may be overridden is the check's.
    return replace(decision, overridable=first.overridable)
