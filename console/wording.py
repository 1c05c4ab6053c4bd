"""The engine's short forms in the words and widths people read: reasons, versions, codes."""

import re

from console.line import cut, tidy
from console.units import span_text
from engine import Code, ModelView, QuarantineView, Readiness

_CRASH_LOOP = re.compile(r"^crash_loop:(\d+)\s*")
PROBATION = "probation"
ON_PROBATION = "on probation"


def reason_words(reason: str, strike_limit: int = 3) -> str:
    """A reason for people: ``crash_loop:3 SIGKILL`` of the registry is ``3 strikes: SIGKILL``.

    Fewer strikes than the limit quarantine only a model that was on probation.
    """
    found = _CRASH_LOOP.match(reason)
    if found is None:
        return reason
    count, cause = int(found[1]), reason[found.end() :] or "no cause kept"
    if count < strike_limit:
        return f"{cause} {ON_PROBATION}"
    return f"{count} strikes: {cause}"


def version_words(version: str, width: int, mark: str = "…") -> str:
    """The first package of a backend's version, its number never cut: of a column the name gives.

    Args:
        version: ``llama-cpp-python 0.3.36``, or ``mlx-lm 0.32.2, mlx 0.32.4``.
        width: Columns.
    """
    text = tidy(version.partition(",")[0]).replace("llama-cpp-python", "llama-cpp")
    if len(text) <= width:
        return text
    name, blank, number = text.rpartition(" ")
    room = width - len(number) - 1
    return f"{cut(name, room, mark)} {number}" if blank and room >= 2 else cut(text, width, mark)


def drain_words(model: ModelView, now: float) -> str:
    """What a drain waits for and until when; empty where there is none."""
    if not model.draining:
        return ""
    if not model.requests:
        return "draining: its last request has ended, its worker is about to"
    left = "1 request is" if model.requests == 1 else f"{model.requests} requests are"
    if model.drain_until is None:
        return f"draining: {left} left"
    if model.drain_until <= now:
        return f"draining: {left} being cancelled"
    return f"draining: {left} left, cancelled in {span_text(model.drain_until - now)}"


def codes_of(model: ModelView) -> tuple[Code, ...]:
    """The contract's codes that say why a model gets no traffic, the first cause first.

    A quarantined model answers ``model_unstable``; one whose canary failed says that before.
    """
    codes: list[Code] = []
    if model.readiness is Readiness.QUARANTINED:
        if _canary_failed(model):
            codes.append(Code.MODEL_CANARY_FAILED)
        codes.append(Code.MODEL_UNSTABLE)
    if model.refusal is not None and model.refusal.code not in codes:
        codes.append(model.refusal.code)
    return tuple(codes)


def _canary_failed(model: ModelView) -> bool:
    # After a restart of the engine neither the run nor the refusal is there, only the evidence.
    if model.refusal is not None and model.refusal.code is Code.MODEL_CANARY_FAILED:
        return True
    if model.canary is not None and model.canary.passed is False:
        return True
    return model.evidence is not None and model.evidence.cause.startswith("canary:")


def release_words(case: QuarantineView, now: float) -> str:
    """When an operator may release it, with the countdown of its cool-down."""
    if case.held:
        return "held by an operator; release (r)"
    if case.eligible_at > now:
        return f"you may release (r) in {span_text(case.eligible_at - now)}"
    return "you may release it now (r)"


def broke_probation(case: QuarantineView) -> bool:
    """True if it came back to quarantine from a release that had not yet been earned."""
    return case.reason.endswith(ON_PROBATION)
