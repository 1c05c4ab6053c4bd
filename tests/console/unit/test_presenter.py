"""What the dashboard shows of a snapshot, without a screen."""

from dataclasses import replace
from typing import Any

import pytest

from console.line import Line, width_of
from console.presenter import (
    Pulse,
    ViewOptions,
    arrange,
    beat,
    header_line,
    note_lines,
    notice_lines,
    present,
    visible,
)
from console.status import Glyphs
from engine import EngineSnapshot, Notice, Readiness
from tests.console import gallery
from tests.console.scripted import T0, snapshot_of


def view(snapshot: EngineSnapshot, **fields: Any) -> ViewOptions:
    defaults: dict[str, Any] = {
        "width": 78,
        "side_width": 38,
        "note_width": fields.get("width", 78),
        "now": T0,
        "order": arrange(snapshot.models, "name"),
    }
    return ViewOptions(**{**defaults, **fields})


def text(line: Line) -> str:
    return "".join(cell.text for cell in line).rstrip()


def test_the_rows_of_the_design() -> None:
    snapshot = gallery.working()
    picture = present(snapshot, view(snapshot))
    assert [text(row) for row in picture.rows] == [
        " ! broken-13B               gguf  7.4 GB  refused: incomplete",
        " ◇ GLM-5-2.5bit    OVERRIDE mlx   185 GB  canary_pending 5/9   ○○○",
        " ✕ Kimi-K2.5-3bit           mlx   362 GB  quarantined          ●●●",
        " ● MiniMax-M2.5-4bit        mlx   121 GB  routable             ○○○   2   46.2",
        " · Qwen3-8B-Q4_K_M          gguf  5.0 GB  unloaded",
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
    header = header_line(snapshot, Pulse(), width, 0.2, Glyphs(ascii_only))
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
    assert text(picture.canary[-1]) == " failed: perplexity out of bounds"


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
    wide = text(header_line(snapshot, Pulse(), 120, 0.2, glyphs))
    assert "llama.cpp 0.3.36" in wide
    assert "OVERRIDE 1" in wide
    narrow = text(header_line(snapshot, Pulse(), 60, 0.2, glyphs))
    assert "OVERRIDE 1" in narrow
    assert "llama.cpp" not in narrow
    stale = text(header_line(snapshot, Pulse(age_s=5.0, paused=True), 80, 0.2, glyphs))
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
    assert text(first) == " 2 of 5 shards are missing"
    assert text(second) == " download the model again"


def test_more_notices_than_fit_are_counted() -> None:
    notices = tuple(Notice(str(i), f"notice {i}" * 20) for i in range(4))
    lines = notice_lines(snapshot_of(notices=notices), 60, Glyphs())
    assert len(lines) == 2
    assert text(lines[1]).endswith("(+2, L)")
    assert all(width_of(line) <= 60 for line in lines)
