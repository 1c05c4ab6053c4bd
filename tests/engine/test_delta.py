"""A change leads from one snapshot to the next, through JSON, and keeps what did not move."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.delta import Gap, change, changed, read_whole, whole
from engine.types import Event, HostState, ModelView, Readiness, RegistryRow
from tests.console import fleet, gallery
from tests.console.scripted import T0


def through_json(told: Any) -> Any:
    return json.loads(json.dumps(told))


def test_the_whole_is_the_same_on_the_other_side() -> None:
    odd = gallery.routable("a\udcff\u202e", sampling={"temperature": 0.2}, thinking=("<t>", "</t>"))
    snapshot = replace(gallery.working(), models=(*gallery.working().models, odd))
    assert read_whole(through_json(whole(snapshot))) == snapshot


def test_only_what_changed_of_a_row_travels_and_the_rest_stays_the_same_object() -> None:
    old = gallery.working()
    models = tuple(replace(m, requests=7) if m.requests else m for m in old.models)
    told = change(old, replace(old, version=old.version + 1, models=models))
    assert told["rows"] == {"models": {"parts": {"MiniMax-M2.5-4bit": {"requests": 7}}}}
    new = changed(old, through_json(told))
    assert new.models == models
    assert [a is b for a, b in zip(old.models, new.models, strict=True)].count(False) == 1
    for name in ("quarantine", "registry", "events", "memory", "runtimes", "requests"):
        assert getattr(new, name) is getattr(old, name)


def test_an_event_more_costs_one_event() -> None:
    events = tuple(gallery.event(f"event {n}", seq=n) for n in range(1, 201))
    old = replace(gallery.working(), events=events)
    new = replace(old, version=9, events=(*events[1:], gallery.event("one more", seq=201)))
    told = through_json(change(old, new))
    assert [event["seq"] for event in told["slid"]["events"]["back"]] == [201]
    assert changed(old, told) == new


MODELS = ("a", "b", "c", "d")
EVENTS = [Event(n, T0, "model_changed", f"{n}") for n in range(1, 40)]
ROWS = [RegistryRow(T0 - n, "m", "mlx", "1", "pass", str(n)) for n in range(40)]
states = st.builds(
    lambda models, first, count, row, requests: replace(
        gallery.working(),
        models=tuple(models),
        events=tuple(EVENTS[first : first + count]),
        registry=tuple(ROWS[row : row + count]),
        requests=tuple(gallery.request(id=name) for name in requests),
    ),
    st.lists(
        st.builds(
            lambda name, state, tokens: gallery.model(name, readiness=state, requests=tokens),
            st.sampled_from(MODELS),
            st.sampled_from(list(Readiness)),
            st.integers(0, 3),
        ),
        unique_by=lambda model: model.id,
    ),
    st.integers(0, 30),
    st.integers(0, 9),
    st.integers(0, 30),
    st.lists(st.sampled_from(("r1", "r2", "r3")), max_size=4),
)


@given(states, states)
@settings(max_examples=150, deadline=None)
def test_from_any_state_to_any_other(old: Any, new: Any) -> None:
    new = replace(new, version=old.version + 1)
    assert changed(old, through_json(change(old, new))) == new


@pytest.mark.parametrize(
    "told",
    [
        {"from": 99, "version": 100, "taken_at": T0},
        {},
        [],
        None,
        {"from": 1, "version": 2, "taken_at": T0, "set": {"models": "none"}},
        {"from": 1, "version": 2, "taken_at": T0, "rows": {"models": {"parts": {"gone": {}}}}},
        {"from": 1, "version": 2, "taken_at": T0, "rows": {"memory": {}}},
    ],
)
def test_what_does_not_lead_on_is_a_gap(told: Any) -> None:
    with pytest.raises(Gap):
        changed(gallery.working(), told)


def test_a_field_of_a_newer_engine_is_left_out() -> None:
    old = gallery.working()
    told = {"from": old.version, "version": 2, "taken_at": T0, "set": {"moon": "full"}}
    told["rows"] = {"models": {"parts": {"MiniMax-M2.5-4bit": {"phase": "new"}}}}
    assert changed(old, told).models == old.models
    assert "moon" not in {field.name for field in fields(type(old))}


def test_one_host_of_many_costs_its_own_words() -> None:
    old = fleet.working()
    own, well, *others = old.hosts
    gone = replace(well, state=HostState.STALE, heard_at=T0, why="not heard")
    new = replace(old, version=2, hosts=(own, gone, *others))
    told = change(old, new)
    assert told["rows"]["hosts"] == {
        "parts": {fleet.WELL: {"state": "stale", "heard_at": T0, "why": "not heard"}}
    }
    there = changed(old, through_json(told))
    assert there.hosts == new.hosts
    assert there.hosts[0] is own
    fewer = replace(new, version=3, hosts=(own, gone))
    assert changed(there, through_json(change(there, fewer))).hosts == (own, gone)


def test_every_field_of_a_model_travels() -> None:
    view = gallery.quarantined()
    blank = ModelView(view.id, "", view.backend, "", "", 0)
    old = replace(gallery.working(), models=(blank,))
    new = replace(old, version=2, models=(view,))
    assert changed(old, through_json(change(old, new))).models == (view,)
