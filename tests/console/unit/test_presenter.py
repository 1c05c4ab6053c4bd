"""What the dashboard shows of a snapshot, without a screen."""

from dataclasses import replace
from typing import Any

import pytest

from console.line import width_of
from console.masthead import header_line, notice_lines, notices_whole
from console.panels import registry_heading, registry_lines
from console.presenter import (
    Pulse,
    arrange,
    beat,
    event_line,
    moment,
    note_lines,
    present,
    visible,
)
from console.status import Glyphs
from engine import (
    CanaryStep,
    Code,
    EngineSnapshot,
    ModelView,
    Notice,
    Readiness,
    StepResult,
    Transition,
)
from tests.console import gallery
from tests.console.drawing import text, view
from tests.console.scripted import GB, T0, snapshot_of


def test_the_rows_of_the_design() -> None:
    snapshot = gallery.working()
    picture = present(snapshot, view(snapshot))
    assert [text(row) for row in picture.rows] == [
        " ! broken-13B               gguf ~7.4 GB  refused: incomplete",
        " ◇ GLM-5-2.5bit    OVERRIDE mlx   185 GB  canary_pending 5/9   ○○○",
        " ✕ Kimi-K2.5-3bit           mlx  ~362 GB  quarantined          ●●●",
        " ● MiniMax-M2.5-4bit        mlx   121 GB  routable             ○○○   2   46.2",
        " · Qwen3-8B-Q4_K_M          gguf ~5.0 GB  unloaded",
        " ◐ SmolLM2-135M-I…ruct.Q4_1 gguf   94 MB  loading 42 %         ○○○",
    ]


@pytest.mark.parametrize("width", [58, 78, 118, 158, 198])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_its_panel(width: int, ascii_only: bool) -> None:
    hostile = "\x1b[31m[bold]" + "漢字👩‍👩‍👧" * 40 + "\u202egpj"
    snapshot = gallery.working()
    models = (*snapshot.models, gallery.routable(hostile), gallery.quarantined(hostile + "2"))
    rows = tuple(replace(row, model_id=hostile, reason=hostile) for row in snapshot.registry)
    snapshot = replace(
        snapshot, models=models, registry=rows, quarantine=(gallery.case(hostile),), host=hostile
    )
    options = view(snapshot, width=width, selected=hostile, glyphs=Glyphs(ascii_only))
    picture = present(snapshot, options)
    lines = (*picture.rows, picture.heading, *picture.note, *picture.registry)
    sides = (*picture.canary, *picture.quarantine)
    assert all(width_of(line) <= width for line in lines)
    assert all(width_of(line) <= 38 for line in sides)
    shown = "".join(text(line) for line in (*lines, *sides))
    assert all(ord(c) >= 0x20 and c not in "\u202e\u200d" for c in shown)
    if ascii_only:
        assert shown.isascii()
    header = header_line(snapshot, Pulse(), width, 0.2, Glyphs(ascii_only), T0)
    assert width_of(header) <= width


def test_order_is_the_operators_until_the_catalog_changes() -> None:
    snapshot = gallery.working()
    order = arrange(snapshot.models, "state")
    assert order[0] == "MiniMax-M2.5-4bit"
    moved = tuple(replace(m, readiness=Readiness.UNLOADED) for m in snapshot.models)
    assert arrange(moved, "state", order) == order
    assert len(arrange((*moved, gallery.model("new")), "state", order)) == len(order) + 1
    assert arrange(snapshot.models, "size")[0] == "Kimi-K2.5-3bit"


def test_the_filter_matches_name_backend_and_state() -> None:
    snapshot = gallery.working()

    def ids(words: str) -> list[str]:
        return [m.id for m in visible(snapshot, view(snapshot, filter=words))]

    assert ids("kimi") == ["Kimi-K2.5-3bit"]
    assert ids("mlx routable") == ["MiniMax-M2.5-4bit"]
    assert ids("refused") == ["broken-13B"]
    assert ids("[") == []


def test_a_simulated_model_says_so_everywhere() -> None:
    sim = gallery.routable("pretender", backend="simulated", simulated=True)
    snapshot = snapshot_of(sim)
    picture = present(snapshot, view(snapshot, selected="pretender"))
    assert " sim " in text(picture.rows[0])
    assert picture.canary_title.endswith(" sim")
    assert "pretender sim" in text(picture.note[0])
    row = replace(gallery.registry()[0], model_id="pretender", backend="simulated")
    snapshot = replace(snapshot, quarantine=(gallery.case("pretender"),), registry=(row,))
    picture = present(snapshot, view(snapshot))
    assert "pretender sim" in text(picture.quarantine[0])
    assert "pretender sim" in text(picture.registry[0])
    news = event_line(T0, "pretender", "loaded", "info", 78, T0, Glyphs(), simulated=True)
    assert "pretender sim  loaded" in text(news)


def test_canary_lines_show_detail_time_and_verdict() -> None:
    snapshot = gallery.working()
    picture = present(snapshot, view(snapshot, selected="GLM-5-2.5bit"))
    lines = [text(line) for line in picture.canary]
    assert lines[4] == " ✓ perplexity  18.4 (<1,000)   240 ms"
    assert lines[5] == " ▸ decode      7/16 tok"
    assert {width_of(line) for line in picture.canary} == {38}
    bad = gallery.quarantined(canary=gallery.canary("Kimi-K2.5-3bit", 4, failed="perplexity"))
    snapshot = snapshot_of(bad)
    picture = present(snapshot, view(snapshot, selected=bad.id))
    assert text(picture.canary[0]) == " ran 14:02:10 and failed: perplexity"
    assert text(picture.canary[1]) == " out of bounds"
    assert text(picture.canary[-1]) == " · memory"
    again = gallery.routable(canary=bad.canary)
    shown = present(snapshot_of(again), view(snapshot_of(again), selected=again.id)).canary
    assert text(shown[-1]) == " failed: perplexity out of bounds"


def test_quarantine_counts_down_and_then_invites() -> None:
    snapshot = gallery.working()
    before = present(snapshot, view(snapshot)).quarantine
    assert text(before[2]) == " you may release (r) in 4:12"
    after = present(snapshot, view(snapshot, now=T0 + 300)).quarantine
    assert text(after[2]) == " you may release it now (r)"
    held = replace(snapshot, quarantine=(gallery.case(held=True),))
    assert "held by an operator" in text(present(held, view(held)).quarantine[2])


def test_the_header_says_stale_override_and_drops_the_least_first() -> None:
    snapshot = gallery.working()
    glyphs = Glyphs()
    wide = text(header_line(snapshot, Pulse(), 120, 0.2, glyphs, T0))
    assert "llama.cpp 0.3.36" in wide
    assert "OVERRIDE 1" in wide
    narrow = text(header_line(snapshot, Pulse(), 60, 0.2, glyphs, T0))
    assert "OVERRIDE 1" in narrow
    assert "llama.cpp" not in narrow
    stale = text(header_line(snapshot, Pulse(age_s=5.0, paused=True), 80, 0.2, glyphs, T0))
    assert "STALE 5 s" in stale
    assert "PAUSED" in stale


def test_figures_are_no_beat_and_states_are() -> None:
    snapshot = gallery.working()
    models = tuple(replace(m, tokens_per_second=9.9, progress=0.5) for m in snapshot.models)
    assert beat(replace(snapshot, models=models, version=2)) == beat(snapshot)
    models = tuple(replace(m, strikes=1) for m in snapshot.models)
    assert beat(replace(snapshot, models=models)) != beat(snapshot)


def test_a_refusal_is_told_with_its_remedy() -> None:
    first, second = note_lines(gallery.refused(), view(gallery.working()))
    assert text(first) == " model_incomplete: 2 of 5 shards are missing"
    assert text(second) == " download the model again"
    narrow, _ = note_lines(gallery.refused(), view(gallery.working(), note_width=40))
    assert text(narrow) == " 2 of 5 shards are missing"


def test_a_quarantined_model_names_the_codes_a_client_gets() -> None:
    options = view(gallery.working())
    struck, _ = note_lines(gallery.quarantined(reason="crash_loop:3 SIGKILL"), options)
    assert text(struck) == " model_unstable: 3 strikes: SIGKILL"
    failed = gallery.refusal(Code.MODEL_CANARY_FAILED, remedy="repair its files")
    first, second = note_lines(
        gallery.quarantined(refusal=failed, reason="canary failed: perplexity"), options
    )
    assert text(first) == " model_canary_failed · model_unstable: canary failed: perplexity"
    assert text(second) == " repair its files"
    # The engine was started anew: the run and the refusal are gone, the evidence is not.
    known = gallery.evidence("Kimi-K2.5-3bit", "canary: perplexity")
    recalled, _ = note_lines(gallery.quarantined(evidence=known), options)
    assert "model_canary_failed" in text(recalled)


def test_probation_is_seen_on_row_and_note() -> None:
    words = " on probation: its next failure quarantines it again"
    for model in (
        gallery.routable("m", probation=True),
        gallery.proving("m", probation=True, override=True),
        gallery.loading("m", probation=True),
        gallery.model("m", readiness=Readiness.ADMITTED, probation=True),
    ):
        for width in (58, 78, 118):
            picture = present(
                snapshot_of(model), view(snapshot_of(model), width=width, selected="m")
            )
            assert " prob" in text(picture.rows[0]).replace(", ", " ")
            assert text(picture.note[0]) == words[:width]
    broken = replace(gallery.case(), reason="SIGKILL on probation", strikes=1)
    shown = present(snapshot_of(quarantine=(broken,)), view(snapshot_of())).quarantine
    assert text(shown[1]).startswith(" on probation: ")
    bare = replace(broken, evidence=())
    shown = present(snapshot_of(quarantine=(bare,)), view(snapshot_of())).quarantine
    assert text(shown[1]) == " SIGKILL on probation"


def test_what_no_worker_holds_is_not_shown_as_held() -> None:
    gone = gallery.routable(
        "gone", 5, readiness=Readiness.UNLOADED, requests=0, measured_bytes=5 * GB
    )
    live = gallery.routable("live", 5)
    snapshot = snapshot_of(gone, live, gallery.model("huge", 1400))
    rows = [text(row) for row in present(snapshot, view(snapshot, width=118)).rows]
    assert "~5.0 GB" in rows[0]
    assert "46.2" not in rows[0]
    assert rows[0].count("GB") == 1
    assert "~1400GB" in rows[1]
    facts, _ = note_lines(gone, view(snapshot))
    assert "would take 5.0 GB" in text(facts)
    assert "~" not in rows[2]
    assert "46.2" in rows[2]


def canary_of(model: ModelView, width: int = 38) -> list[str]:
    snapshot = snapshot_of(model)
    picture = present(snapshot, view(snapshot, selected=model.id, side_width=width))
    assert all(width_of(line) <= width for line in picture.canary)
    return [text(line) for line in picture.canary]


def test_an_old_canary_says_when_it_ran_and_what_came_after() -> None:
    ran: dict[str, Any] = {"canary": gallery.canary("m", 9)}
    moves = {
        "unloaded": (Readiness.UNLOADED, "unloaded", " ran 14:02:10, before it was unloaded"),
        "died": (Readiness.QUARANTINED, "third strike", " ran 14:02:10, before it died"),
        "held": (Readiness.QUARANTINED, "held by an operator", " ran 14:02:10, before it was held"),
    }
    for state, cause, words in moves.values():
        step = Transition(T0 - 1, Readiness.ROUTABLE, state, cause, "")
        assert canary_of(gallery.model("m", readiness=state, transitions=(step,), **ran))[0] == (
            words
        )
    waiting = gallery.loading("m", retry_at=T0 + 2, **ran)
    assert canary_of(waiting)[0] == " ran 14:02:10, before it died"
    assert not canary_of(gallery.routable("m"))[0].startswith(" ran")
    cut_off = gallery.model("m", canary=gallery.canary("m", 3))
    assert canary_of(cut_off)[4] == " ✕ logits      it ended here"


def test_a_canary_that_has_not_run_says_why() -> None:
    assert canary_of(gallery.loading("m", retry_at=T0 + 2)) == [
        " its worker died; a new canary follows"
    ]
    assert canary_of(gallery.loading("m")) == [" its canary runs once it is loaded"]
    assert canary_of(gallery.model("m")) == [" no canary has run since the start"]


def test_no_canary_detail_is_cut() -> None:
    long = "answers end in no token it stops at: it may never stop"
    steps = (
        CanaryStep("handshake", StepResult.PASS, 2.0, "none"),
        CanaryStep("template", StepResult.WARN, 3.0, long),
        CanaryStep("perplexity", StepResult.PASS, 240.0, "13.2 (<1,000)"),
        CanaryStep("decode", StepResult.PASS, 310.0, "16 tok, 46.2 tok/s"),
        CanaryStep("memory", StepResult.PASS, 4.0, "64% of the estimate"),
    )
    run = replace(gallery.canary("m", 9), steps=steps, passed=False, reason=long)
    lines = canary_of(gallery.routable("m", canary=run))
    assert " ✓ decode      46.2 tok/s      310 ms" in lines
    assert lines[0] == " ✓ handshake   no device         2 ms"
    assert "…" not in "".join(lines)
    told = " ".join(" ".join(lines).split())
    assert "64% of estimate" in told
    assert told.replace(" 3 ms", "").count(long) == 2


def test_the_version_survives_where_the_package_does_not() -> None:
    row = replace(gallery.registry()[0], backend_version="llama-cpp-python 0.3.36")
    for width, words in ((78, "llama-cpp 0.3.36"), (58, "llama… 0.3.36")):
        snapshot = snapshot_of(registry=(row,))
        assert words in text(present(snapshot, view(snapshot, width=width)).registry[0])


def test_registry_heads_stand_over_their_columns() -> None:
    for width in (58, 78, 118, 198):
        head = text(registry_heading(width))
        row = text(registry_lines(gallery.registry()[:1], width, T0, Glyphs())[0])
        for title, value in (("MODEL", "MiniMax"), ("BACKEND", "mlx-lm"), ("REASON", "canary")):
            assert head.index(title) == row.index(value[:4])


def test_notices_are_whole_where_they_are_listed() -> None:
    notices = tuple(Notice(str(i), f"notice {i} " * 20) for i in range(4))
    lines = notices_whole(snapshot_of(notices=notices), 60, Glyphs())
    assert all(width_of(line) <= 60 for line in lines)
    told = " ".join(" ".join(text(line) for line in lines).split())
    assert all(("notice " + str(i) + " ") * 19 in told for i in range(4))


def test_more_notices_than_fit_are_counted() -> None:
    notices = tuple(Notice(str(i), f"notice {i}" * 20) for i in range(4))
    lines = notice_lines(snapshot_of(notices=notices), 60, Glyphs())
    assert len(lines) == 2
    assert text(lines[0]).endswith("(L)")
    assert text(lines[1]).endswith("(+2, L)")
    assert all(width_of(line) <= 60 for line in lines)


STILL: dict[str, EngineSnapshot] = {
    "working": replace(gallery.working(), quarantine=()),
    "over": replace(gallery.working(), quarantine=(gallery.case(eligible_at=T0 - 60),)),
    "held": replace(gallery.working(), quarantine=(gallery.case(held=True),)),
}
COUNTING: dict[str, EngineSnapshot] = {
    "cool-down": replace(gallery.working(), quarantine=(gallery.case(eligible_at=T0 + 90),)),
    "back-off": snapshot_of(gallery.loading(retry_at=T0 + 90)),
    "drain": snapshot_of(gallery.routable(draining=True, drain_until=T0 + 90, requests=1)),
}


def drawn(snapshot: EngineSnapshot, width: int, now: float) -> list[object]:
    """Everything the panels show, with each model selected in turn."""
    pictures = (
        present(snapshot, view(snapshot, width=width, now=now, selected=model.id))
        for model in snapshot.models
    )
    return [
        [*p.rows, *p.note, *p.canary, *p.quarantine, *p.registry, p.canary_title] for p in pictures
    ]


@pytest.mark.parametrize("name", STILL)
def test_between_two_equal_moments_nothing_on_the_screen_changes(name: str) -> None:
    snapshot = STILL[name]
    for later in (0.4, 1.0, 59.0, 3600.0, 30_000.0):
        assert moment(snapshot, 78, T0) == moment(snapshot, 78, T0 + later)
        assert drawn(snapshot, 78, T0) == drawn(snapshot, 78, T0 + later)
    assert moment(snapshot, 78, T0) != moment(snapshot, 78, T0 + 86_400), "times become dates"


@pytest.mark.parametrize("name", COUNTING)
def test_a_countdown_is_drawn_every_second(name: str) -> None:
    snapshot = COUNTING[name]
    assert drawn(snapshot, 78, T0) != drawn(snapshot, 78, T0 + 1)
    assert moment(snapshot, 78, T0) != moment(snapshot, 78, T0 + 1)


def test_only_a_wide_row_tells_how_long_a_model_is_idle() -> None:
    snapshot = snapshot_of(gallery.routable(idle_since=T0 - 50))
    assert moment(snapshot, 78, T0) == moment(snapshot, 78, T0 + 60)
    assert drawn(snapshot, 78, T0) == drawn(snapshot, 78, T0 + 60)
    assert moment(snapshot, 158, T0) != moment(snapshot, 158, T0 + 60)
    assert drawn(snapshot, 158, T0) != drawn(snapshot, 158, T0 + 60)
