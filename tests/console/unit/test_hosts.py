"""What is shown of several hosts, without a screen; and that a lone one changes nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from console.commands import DASHBOARD, Selection, offered
from console.hosts import Census, census_of, heard_text, host_heading, host_line, host_note
from console.line import Cell, Line, width_of
from console.masthead import header_line
from console.presenter import Pulse, beat, moment, present, visible
from console.rows import columns_for
from console.search import search_of
from console.status import Glyphs
from console.whereabouts import NOWHERE, missed, short_names, whereabouts
from engine import EngineSnapshot, HostState, Readiness
from tests.console import fleet, gallery
from tests.console.drawing import text, view
from tests.console.scripted import T0

HOSTILE = "\x1b[31m[bold]" + "漢字👩‍👩‍👧" * 9 + "\u202egpj"


def texts(lines: Sequence[Line]) -> list[str]:
    return [text(line) for line in lines]


def test_each_row_names_its_host_and_looks_as_old_as_it_is() -> None:
    snapshot = fleet.working()
    picture = present(snapshot, view(snapshot))
    assert [text(picture.heading), *texts(picture.rows)] == [
        "   MODEL                   HOST    ON       MEM  STATE                STR REQ",
        " □ gemma-3-27b-it-qat      gpu-2   gguf   16 GB  STALE routable       ○○○   2",
        " ◇ GLM-5-2.5bit   OVERRIDE gpu-1   mlx   185 GB  canary_pending 5/9   ○○○",
        " ✕ Kimi-K2.5-3bit          gpu-1   mlx  ~362 GB  quarantined          ●●●",
        " ● MiniMax-M2.5-4bit       mono512 mlx   121 GB  routable             ○○○   2",
        " ● MiniMax-M2.5-4bit       gpu-1   mlx   121 GB  routable             ○○○   1",
        " ■ Mistral-Small-24B       attic   gguf  ~14 GB  host lost",
        " □ phi-4-Q4_K_M            gpu-2   gguf ~9.0 GB  STALE unloaded",
        " · Qwen3-8B-Q4_K_M         mono512 gguf ~5.0 GB  unloaded",
        " ■ Qwen3-8B-Q4_K_M         attic   gguf ~5.0 GB  host lost",
    ]
    quiet = {cell.style for cell in picture.rows[0]}
    assert quiet == {"idle", "warn"}
    wide = texts(present(snapshot, view(snapshot, width=118)).rows)
    assert "46.2" in wide[3]
    assert "46.2" not in wide[0], "a speed that nobody has heard for a while is none"


def test_a_lone_host_changes_nothing() -> None:
    alone, without = fleet.lone(), gallery.working()
    assert whereabouts(alone) is NOWHERE
    for width in (58, 78, 118, 198):
        for selected in (model.id for model in alone.models):
            chosen = {"width": width, "selected": selected}
            one, other = (present(s, view(s, **chosen)) for s in (alone, without))
            assert list(one.rows) == list(other.rows)
            assert (one.heading, one.note, one.canary) == (other.heading, other.note, other.canary)
        headers = [header_line(s, Pulse(), width, 0.2, Glyphs(), T0) for s in (alone, without)]
        assert headers[0] == headers[1]
    assert [c.id for c in offered(Selection(None, alone))] == [
        c.id for c in offered(Selection(None, without))
    ]


def test_the_key_is_told_where_there_is_more_than_one() -> None:
    told = [c.id for c in offered(Selection(None, fleet.working(), where=DASHBOARD))]
    assert "hosts" in told
    assert "hosts" not in [c.id for c in offered(Selection(None, fleet.lone()))]


@pytest.mark.parametrize("width", [58, 78, 118, 158, 198])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_its_panel(width: int, ascii_only: bool) -> None:
    glyphs = Glyphs(ascii_only)
    snapshot = fleet.working()
    odd = replace(snapshot.hosts[2], name=HOSTILE, devices=(HOSTILE,), why=HOSTILE)
    lost = replace(snapshot.hosts[3], why=HOSTILE, address=HOSTILE)
    snapshot = replace(
        snapshot,
        hosts=(*snapshot.hosts[:2], odd, lost),
        models=tuple(
            replace(m, host=HOSTILE) if m.host == fleet.STALE else m for m in snapshot.models
        ),
    )
    census = census_of(snapshot.models)
    lines: list[Line] = [host_heading(snapshot.hosts, width)]
    for host in snapshot.hosts:
        counted = census.get(host.name, Census())
        lines.append(host_line(host, counted, snapshot.hosts, width, T0, glyphs))
        lines += host_note(host, counted, width, glyphs)
    for model in snapshot.models:
        picture = present(snapshot, view(snapshot, width=width, selected=model.id, glyphs=glyphs))
        lines += [*picture.rows, *picture.note, picture.heading]
    lines.append(header_line(snapshot, Pulse(), width, 0.2, glyphs, T0))
    assert all(width_of(line) <= width for line in lines), max(lines, key=width_of)
    shown = "".join(texts(lines))
    assert all(ord(c) >= 0x20 and c not in "\u202e\u200d" for c in shown)
    if ascii_only:
        assert shown.isascii()


@pytest.mark.parametrize(
    "names",
    [
        ("gpu-1.rack.example.org", "gpu-2.rack.example.org", "gpu-11.rack.example.org"),
        ("ip-10-0-134-201", "ip-10-0-12-201", "ip-10-0-12-202", "own"),
        ("a-very-long-name", "a-very-long-name-2", "a-very-long-name-21"),
        tuple(f"node-{i:03}.cluster.internal" for i in range(100)),
        ("漢字漢字漢字漢字甲", "漢字漢字漢字漢字乙"),
    ],
)
@pytest.mark.parametrize("width", [10, 16])
def test_no_two_hosts_look_the_same(names: tuple[str, ...], width: int) -> None:
    short = short_names(names, width, Glyphs())
    assert len(set(short.values())) == len(names), short
    assert all(width_of((Cell(name),)) <= width for name in short.values())


def test_every_row_shows_in_what_its_host_differs() -> None:
    places = {fleet.WELL: "34", fleet.STALE: "35", fleet.LOST: "36"}
    names = {name: f"ip-10-0-12-{last}.ec2.internal" for name, last in places.items()}
    snapshot = fleet.working()
    snapshot = replace(
        snapshot,
        hosts=tuple(replace(h, name=names.get(h.name, h.name)) for h in snapshot.hosts),
        models=tuple(replace(m, host=names.get(m.host, m.host)) for m in snapshot.models),
    )
    rows = texts(present(snapshot, view(snapshot)).rows)
    assert [row[24:34] for row in rows[:2]] == ["…-0-12-35…", "…-0-12-34…"]
    lines = [host_line(h, Census(), snapshot.hosts, 78, T0, Glyphs()) for h in snapshot.hosts]
    assert [text(line)[3:19] for line in lines[1:3]] == ["ip-10-0-12-34…  ", "ip-10-0-12-35…  "]
    assert "host ip-10-0-12-35… STALE" in text(
        header_line(snapshot, Pulse(), 80, 0.2, Glyphs(), T0)
    )


def test_in_the_narrowest_window_the_note_tells_the_host() -> None:
    snapshot = fleet.working()
    assert columns_for(58, whereabouts(snapshot)).host == 0
    picture = present(snapshot, view(snapshot, width=58, selected="Qwen3-8B-Q4_K_M"))
    assert "HOST" not in text(picture.heading)
    assert text(picture.note[0]).startswith(" Qwen3-8B-Q4_K_M · on mono512 · ")
    ids = texts(present(snapshot, view(snapshot, width=58)).rows)
    assert "…gpu-1 " in ids[4]


def found(snapshot: EngineSnapshot, typed: str) -> list[str]:
    return [m.id for m in visible(snapshot, view(snapshot, filter=typed))]


def test_the_filter_takes_a_host_and_words() -> None:
    snapshot = fleet.working()
    assert found(snapshot, "host:gpu-2") == ["gemma-3-27b-it-qat@gpu-2", "phi-4-Q4_K_M@gpu-2"]
    assert found(snapshot, "unloaded HOST:GPU-2") == ["phi-4-Q4_K_M@gpu-2"]
    assert found(snapshot, "host:attic qwen") == ["Qwen3-8B-Q4_K_M@attic"]
    assert len(found(snapshot, "host:gpu-1 host:gpu-2")) == 5
    assert found(snapshot, "host:gpu") == found(snapshot, "host:gpu-1 host:gpu-2")
    assert found(snapshot, "host:") == found(snapshot, "")
    assert found(snapshot, "stale routable") == ["gemma-3-27b-it-qat@gpu-2"]
    assert found(snapshot, "lost") == ["Mistral-Small-24B@attic", "Qwen3-8B-Q4_K_M@attic"]


def test_the_whole_name_of_a_host_means_no_other_that_it_begins() -> None:
    hosts = tuple(replace(fleet.hosts()[1], name=name) for name in ("b", "b2", "Bob"))
    assert search_of("host:b", hosts).hosts == frozenset({"b"})
    assert search_of("host:bo", hosts).hosts == frozenset({"Bob"})
    assert search_of("host:", hosts).hosts == frozenset({"b", "b2", "Bob"})


def test_an_unknown_host_finds_nothing_and_the_list_says_so() -> None:
    snapshot = fleet.working()
    assert found(snapshot, "host:x qwen") == []
    [row] = texts(present(snapshot, view(snapshot, filter="host:x qwen")).rows)
    assert row == " no host is named x, only mono512, gpu-1, gpu-2, attic (esc clears it)"
    [row] = texts(present(snapshot, view(snapshot, filter="host:gpu-2 qwen")).rows)
    assert row == " nothing matches the filter (esc clears it)"


def test_the_note_tells_what_is_wrong_with_the_host() -> None:
    snapshot = fleet.working()

    def note(model_id: str) -> list[str]:
        return texts(present(snapshot, view(snapshot, selected=model_id)).note)

    stale = " gpu-2 is not heard: what stands here is old, and nothing is loaded there"
    assert note("phi-4-Q4_K_M@gpu-2")[0] == stale
    assert note("gemma-3-27b-it-qat@gpu-2")[0] == stale
    assert note("Qwen3-8B-Q4_K_M@attic")[0] == " attic is lost: nothing heard of it for 15 s"
    ran = note("Mistral-Small-24B@attic")[0]
    assert ran.startswith(" host lost: nothing heard of it for 15 s; no other host")


def test_the_header_names_the_host_that_is_silent_before_it_drops_anything_else() -> None:
    snapshot = fleet.working()
    wide = text(header_line(snapshot, Pulse(), 120, 0.2, Glyphs(), T0))
    assert " mono512 +3 " in wide
    assert "host gpu-2 STALE" in wide
    assert "host attic LOST" in wide
    assert "host gpu-2 STALE" in text(header_line(snapshot, Pulse(), 60, 0.2, Glyphs(), T0))
    silent = tuple(replace(h, state=HostState.STALE) if not h.own else h for h in snapshot.hosts)
    several = replace(snapshot, hosts=silent)
    assert "3 hosts STALE" in text(header_line(several, Pulse(), 80, 0.2, Glyphs(), T0))


def test_a_host_that_was_taken_away_for_good_leaves_the_header_not_its_own_screen() -> None:
    snapshot = fleet.working()
    [lost] = (host for host in snapshot.hosts if host.state is HostState.LOST)
    assert missed(snapshot, T0 + 1e6) == (fleet.LOST,), "a model that ran there answers nowhere"
    let_go = replace(snapshot, models=tuple(replace(m, reason="") for m in snapshot.models))
    assert lost.heard_at is not None
    assert missed(let_go, lost.heard_at + 3599) == (fleet.LOST,)
    assert missed(let_go, lost.heard_at + 3601) == ()
    assert "LOST" not in text(header_line(let_go, Pulse(), 198, 0.2, Glyphs(), T0))
    line = host_line(lost, Census(), snapshot.hosts, 78, T0, Glyphs())
    assert " LOST " in text(line)
    moved = gallery.routable("Mistral-Small-24B@gpu-1", host=fleet.WELL, family="Mistral-Small-24B")
    assert missed(replace(snapshot, models=(*snapshot.models, moved)), T0) == ()


def test_a_host_that_changes_is_painted_at_once_and_its_figures_are_not() -> None:
    snapshot = fleet.working()
    own, well, *rest = snapshot.hosts
    figures = replace(well, memory=fleet.memory(320, 10), models=9)
    assert beat(replace(snapshot, hosts=(own, figures, *rest))) == beat(snapshot)
    stale = replace(well, state=HostState.STALE)
    assert beat(replace(snapshot, hosts=(own, stale, *rest))) != beat(snapshot)


def test_no_clock_repaints_the_rows_of_a_host_that_is_not_heard() -> None:
    snapshot = replace(fleet.working(), quarantine=())
    for later in (1.0, 59.0, 3600.0):
        assert moment(snapshot, 78, T0) == moment(snapshot, 78, T0 + later)
        one, other = (present(snapshot, view(snapshot, now=at)) for at in (T0, T0 + later))
        assert list(one.rows) == list(other.rows)
        for well in (h for h in snapshot.hosts if h.state is HostState.OK):
            assert heard_text(well, T0) == heard_text(well, T0 + later)


def test_what_is_heard_of_a_host() -> None:
    own, well, stale, lost = fleet.hosts()
    assert [heard_text(host, T0) for host in (own, well, stale, lost)] == [
        *("here", "now", "12 s", "13:00:31"),
    ]
    assert heard_text(stale, T0 + 60) == "1:12"


def test_a_host_in_one_row_and_in_full() -> None:
    snapshot = fleet.working()
    census = census_of(snapshot.models)
    assert census[fleet.WELL] == Census(total=3, routable=1)

    def row(index: int, width: int) -> str:
        host = snapshot.hosts[index]
        return text(host_line(host, census[host.name], snapshot.hosts, width, T0, Glyphs()))

    assert text(host_heading(snapshot.hosts, 78)) == (
        "   HOST      STATE HEARD         MEM       OF  MODELS  WRK  DEVICES"
    )
    assert row(0, 78) == (
        " ● mono512   up    here       121 GB   512 GB     1/2    1  Darwin arm64"
    )
    assert row(2, 78) == (
        " □ gpu-2     STALE 12 s        40 GB   320 GB     1/2    1  A100, Linux x86_…"
    )
    assert row(3, 78) == (
        " ■ attic     LOST  13:00:31             64 GB     0/2       Linux aarch64"
    )
    assert row(1, 118).endswith("A100, Linux x86_64        no mlx, llama-cpp 0.3.36")
    own, well, stale, lost = (host_note(h, census[h.name], 118, Glyphs()) for h in snapshot.hosts)
    assert texts(own) == [
        " mono512 · the engine runs here · Darwin arm64 · 1 of 2 models routable",
        " mlx-lm 0.32.2, mlx 0.32.4 · llama-cpp-python 0.3.36 · next: mlx-lm 0.33.0, mlx 0.33.1",
        " 121 GB promised, 121 GB measured, budget 512 GB · 391 GB free on the machine",
    ]
    assert text(well[0]) == " gpu-1 · 10.0.0.11 · A100, Linux x86_64 · 1 of 3 models routable"
    assert text(well[1]) == " no mlx: mlx is not installed · llama-cpp-python 0.3.36"
    odd = replace(snapshot.hosts[0].runtimes[2], version="", error="no interpreter")
    broken = replace(snapshot.hosts[0], runtimes=(odd,))
    assert (
        text(host_note(broken, census[fleet.OWN], 118, Glyphs())[1]) == " no next: no interpreter"
    )
    line = host_line(broken, census[fleet.OWN], snapshot.hosts, 118, T0, Glyphs())
    assert text(line).endswith("  no next")
    assert text(stale[0]).startswith(" gpu-2 is not heard: ")
    assert text(lost[0]) == " attic is lost: nothing heard of it for 15 s"
    assert lost[0][0].style == "bad"


def test_a_model_being_loaded_on_a_host_takes_from_that_hosts_memory() -> None:
    snapshot = fleet.working()
    there = snapshot.model("phi-4-Q4_K_M@gpu-2")
    assert there is not None
    assert there.readiness is Readiness.UNLOADED
    assert snapshot.memory_of(there) == fleet.memory(320, 40)
    elsewhere = replace(there, host="")
    assert snapshot.memory_of(elsewhere) == snapshot.memory
