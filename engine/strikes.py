"""The policy of strikes and cool-downs as pure functions over one case.

Times named ``ran_s`` and ``clean_s`` are durations the model was at work, not times of day, so
neither an unload nor a restart nor a jump of the clock clears anything.
"""

from collections.abc import Iterable

from engine.home.statefile import Case, Kind, Sentence, Strike
from engine.settings import Quarantining
from engine.types import Backend, Evidence

_PHASES = ("loading", "canary_pending", "routable")
_SUSPECT = 3
"""So many models struck down on one backend version, and it is the backend."""


def standing(case: Case) -> int:
    """How many strikes are still inside their window."""
    return len(_inside(case))


def _inside(case: Case) -> tuple[Strike, ...]:
    # A load may take longer than ten minutes; then the window is what three such loads take.
    window = max((strike.window_s for strike in case.strikes), default=0.0)
    return tuple(s for s in case.strikes if case.ran_s - s.ran_s <= window)


def struck(case: Case, at: float, window_s: float, rules: Quarantining) -> Case:
    """Count one failure.

    Args:
        at: Unix seconds.
        window_s: What three loads of this model take; the window is at least ``rules.window_s``.
    """
    strike = Strike(at=at, ran_s=case.ran_s, window_s=max(window_s, rules.window_s))
    grown = case.model_copy(update={"strikes": (*case.strikes, strike), "clean_s": 0.0})
    # More than the limit are never needed to know that the limit is reached.
    return grown.model_copy(update={"strikes": _inside(grown)[-rules.strikes :]})


def worked(case: Case, ran_s: float, clean_s: float) -> Case:
    """Add time at work: loading or routable, and of that the routable time."""
    return case.model_copy(
        update={"ran_s": case.ran_s + max(ran_s, 0.0), "clean_s": case.clean_s + max(clean_s, 0.0)}
    )


def forgiven(case: Case) -> Case:
    """The case after ten clean minutes: no strikes; the evidence stays."""
    return case.model_copy(update={"strikes": ()})


def closed(case: Case) -> Case:
    """The case after a probation that was passed: nothing is held against the model."""
    return case.model_copy(update={"strikes": (), "sentence": None, "level": 0})


def sentenced(case: Case, kind: Kind, reason: str, now: float, rules: Quarantining) -> Case:
    """Quarantine, with a cool-down twice as long as the one before, up to the longest."""
    doublings = min(case.level, 64)  # far above any real limit, far below an overflow
    cool_down = min(rules.cool_down_s * 2.0**doublings, rules.cool_down_max_s)
    sentence = Sentence(
        kind=kind,
        reason=reason,
        since=now,
        eligible_at=now + cool_down,
        cool_down_s=cool_down,
        strikes=standing(case),
    )
    return case.model_copy(update={"sentence": sentence, "level": case.level + 1})


def moved(case: Case, seconds: float) -> Case:
    """The same case on a clock that was set by so many seconds: what is left stays left."""
    if case.sentence is None:
        return case
    sentence = case.sentence.model_copy(
        update={
            "since": case.sentence.since + seconds,
            "eligible_at": case.sentence.eligible_at + seconds,
        }
    )
    return case.model_copy(update={"sentence": sentence})


def remembered(case: Case, evidence: Evidence) -> Case:
    """Keep the first, the last and the worst failure; a noisy model pushes out nothing else."""
    first = case.first or evidence
    worst = case.worst
    if worst is None or _severity(evidence) > _severity(worst):
        worst = evidence
    return case.model_copy(update={"first": first, "last": evidence, "worst": worst})


def _severity(evidence: Evidence) -> tuple[int, int, bool]:
    """What it took along counts most, then how far the model had come, then a native crash."""
    phase = _PHASES.index(evidence.phase) if evidence.phase in _PHASES else -1
    return len(evidence.requests), phase, evidence.signal is not None


def suspects(cases: Iterable[Case]) -> dict[tuple[Backend, str], tuple[str, ...]]:
    """Backend versions on which three different contents were struck down, and the models."""
    struck_down: dict[tuple[Backend, str], dict[str, str]] = {}
    for case in cases:
        if case.sentence is not None and case.sentence.kind == "strikes":
            models = struck_down.setdefault((case.backend, case.backend_version), {})
            models[case.fingerprint] = case.model_id
    return {
        version: tuple(sorted(set(models.values())))
        for version, models in struck_down.items()
        if len(models) >= _SUSPECT
    }
