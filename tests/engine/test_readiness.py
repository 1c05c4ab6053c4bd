"""The transition table, held against the design's own words and walked by Hypothesis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.readiness import LIVE, TRANSITIONS, Cause, IllegalTransition, move
from engine.types import Readiness

EDGES = [(cause, edge) for cause, edges in TRANSITIONS.items() for edge in edges]


def test_only_a_passed_canary_makes_a_model_routable() -> None:
    into = [(cause, source) for cause, (source, to) in EDGES if to is Readiness.ROUTABLE]
    assert into == [(Cause.PROVED, Readiness.CANARY_PENDING)]


def test_only_a_release_leads_out_of_quarantine() -> None:
    out = [(cause, to) for cause, (source, to) in EDGES if source is Readiness.QUARANTINED]
    assert out == [(Cause.RELEASED, Readiness.ADMITTED)]


def test_a_worker_starts_only_after_admission() -> None:
    into = {(cause, source) for cause, (source, to) in EDGES if to is Readiness.LOADING}
    died = {(Cause.DIED, s) for s in LIVE if s is not Readiness.ADMITTED}
    assert into == {(Cause.STARTED, Readiness.ADMITTED)} | died


def test_every_live_state_can_be_unloaded_and_every_state_held() -> None:
    assert {s for s, _ in TRANSITIONS[Cause.UNLOADED]} == LIVE
    assert {s for s, _ in TRANSITIONS[Cause.HELD]} == set(Readiness) - {Readiness.QUARANTINED}


@given(st.sampled_from(Readiness), st.sampled_from(Readiness), st.sampled_from(Cause))
def test_anything_not_in_the_table_raises(
    source: Readiness, target: Readiness, cause: Cause
) -> None:
    if (source, target) in TRANSITIONS[cause]:
        assert move(source, target, cause) is target
    else:
        with pytest.raises(IllegalTransition):
            move(source, target, cause)
