"""The readiness states and the one table of transitions between them.

A change that is not in the table is a programming error, never a model's fault, and raises.
"""

from enum import StrEnum

from engine.types import Readiness


class Cause(StrEnum):
    """Why a readiness changed. The words are the ones operators and logs see."""

    ADMITTED = "admitted by the gate"
    STARTED = "worker started"
    NO_ROOM = "no worker or no room after all"
    LOADED = "loaded"
    DIED = "worker died or hung"
    ENVIRONMENT = "environment fault"
    PROVED = "canary passed"
    CANARY_FAILED = "canary failed"
    STRUCK_OUT = "third strike"
    HELD = "held by an operator"
    UNLOADED = "unloaded"
    RELEASED = "released by an operator"
    RELEASE_FAILED = "release did not succeed"


_UNLOADED, _ADMITTED, _LOADING, _CANARY, _ROUTABLE, _QUARANTINED = (
    Readiness.UNLOADED,
    Readiness.ADMITTED,
    Readiness.LOADING,
    Readiness.CANARY_PENDING,
    Readiness.ROUTABLE,
    Readiness.QUARANTINED,
)
LIVE = frozenset({_ADMITTED, _LOADING, _CANARY, _ROUTABLE})
"""States in which a model holds memory or is about to."""

TRANSITIONS: dict[Cause, frozenset[tuple[Readiness, Readiness]]] = {
    Cause.ADMITTED: frozenset({(_UNLOADED, _ADMITTED)}),
    Cause.STARTED: frozenset({(_ADMITTED, _LOADING)}),
    Cause.NO_ROOM: frozenset({(_ADMITTED, _UNLOADED)}),
    Cause.LOADED: frozenset({(_LOADING, _CANARY)}),
    Cause.DIED: frozenset({(s, _LOADING) for s in (_LOADING, _CANARY, _ROUTABLE)}),
    Cause.ENVIRONMENT: frozenset({(s, _UNLOADED) for s in (_LOADING, _CANARY, _ROUTABLE)}),
    Cause.PROVED: frozenset({(_CANARY, _ROUTABLE)}),
    Cause.CANARY_FAILED: frozenset({(s, _QUARANTINED) for s in (_CANARY, _ROUTABLE)}),
    Cause.STRUCK_OUT: frozenset({(s, _QUARANTINED) for s in (_LOADING, _CANARY, _ROUTABLE)}),
    Cause.HELD: frozenset({(s, _QUARANTINED) for s in Readiness if s is not _QUARANTINED}),
    Cause.UNLOADED: frozenset({(s, _UNLOADED) for s in LIVE}),
    Cause.RELEASED: frozenset({(_QUARANTINED, _ADMITTED)}),
    Cause.RELEASE_FAILED: frozenset({(s, _QUARANTINED) for s in LIVE}),
}


class IllegalTransition(AssertionError):
    """The engine tried to move a model along an edge the table does not have."""


def move(source: Readiness, target: Readiness, cause: Cause) -> Readiness:
    """Return ``target`` if the table has this edge for this cause.

    Raises:
        IllegalTransition: it has not; the engine itself is wrong.
    """
    if (source, target) not in TRANSITIONS[cause]:
        raise IllegalTransition(f"{source} → {target} is no transition for {cause!r}")
    return target
