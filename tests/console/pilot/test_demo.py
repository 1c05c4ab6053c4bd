"""The demo on its own stage: the real engine, real workers dying, played at a pace for machines."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from console.demo.app import DemoApp
from console.demo.beat import Await, Beat, on, press, text_of
from console.demo.conductor import Part
from console.demo.props import CRASHING, HEALTHY, NONSENSE
from console.demo.script import SCRIPT
from console.demo.stage import Stage
from console.widgets.caption import CaptionBar
from engine import Code, Readiness
from tests.console.stage import plain, until
from tests.process import workers_below

FAST = 1000.0
LONG_TURNS = 30_000
"""Of ten milliseconds each: five minutes, for a machine that does other things."""
ADMISSION = (
    Code.MODEL_INCOMPLETE,
    Code.MODEL_UNSAFE,
    Code.MODEL_UNSUPPORTED_ARCH,
    Code.MODEL_UNSUPPORTED_BACKEND,
    Code.INSUFFICIENT_MEMORY,
    Code.MODEL_UNSTABLE,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(FAST, below=tmp_path) as built:
        yield built
    assert list(tmp_path.iterdir()) == []


def demo(
    stage: Stage,
    script: Sequence[Beat] = SCRIPT,
    *,
    pace: float = FAST,
    shown: Callable[[Beat], Awaitable[None]] | None = None,
) -> DemoApp:
    return DemoApp(stage, script, pace=pace, shown=shown, actor="ops@local", version="0.0.0")


def workers() -> list[psutil.Process]:
    return workers_below(psutil.Process())


def caption(app: DemoApp) -> str:
    bar = app.screen.query_one("#caption", CaptionBar)
    return "\n".join("".join(cell.text for cell in line) for line in bar.lines)


def is_at(app: DemoApp, place: str) -> bool:
    return place in caption(app)


async def test_the_whole_demo_reaches_its_end_and_leaves_nothing(stage: Stage) -> None:
    """At 80x24; test_recording plays it at 120x36."""
    seen: dict[str, str] = {}
    captions: dict[str, str] = {}

    async def shown(beat: Beat) -> None:
        seen[beat.name] = text_of(app)
        lines = [screen.query("#caption") for screen in app.screen_stack]
        bars = [bar for found in lines for bar in found.results(CaptionBar)]
        captions[beat.name] = "".join(cell.text for line in bars[-1].lines for cell in line)

    app = demo(stage, shown=shown)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.conductor.part is not Part.PLAYING, turns=LONG_TURNS)
        assert app.conductor.trouble == ""
        assert app.conductor.part is Part.OVER
        models = {m.id: m for m in app.snapshot.models}
        assert models[HEALTHY].readiness is Readiness.ROUTABLE
        assert models[CRASHING].probation
        assert models[NONSENSE].backend_version == "simulated 2.0"
        assert models[NONSENSE].readiness is Readiness.ROUTABLE
        assert len(workers()) == 3
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app.return_code is not None, turns=LONG_TURNS)
    assert list(seen) == [beat.name for beat in SCRIPT]
    whole = "\n".join(seen.values())
    assert [code for code in ADMISSION if code not in whole] == []
    assert "model-00003-of-00003.safetensors" in seen["shards"]
    assert "SIGABRT" in seen["crash"]
    assert "●●●" in seen["quarantine"]
    assert "logits" in seen["nonsense"]
    assert "OVERRIDE 1" in seen["overridden"]
    assert all(beat.caption.split()[-1] in captions[beat.name] for beat in SCRIPT)
    assert workers() == []


STILL = Await("the list", lambda app: app.snapshot.started)
SHORT = (
    Beat("one", "Scene", "First.", (STILL, on("DashboardScreen")), 3600.0),
    Beat("two", "Scene", "Second.", (press("j"),), 3600.0),
    Beat("three", "Scene", "Third.", (press("question_mark"), on("HelpScreen")), 3600.0),
    Beat("four", "Scene", "Last.", (press("escape"), on("DashboardScreen")), 3600.0),
)


async def test_n_goes_on_and_the_end_leaves_the_console_to_the_presenter(stage: Stage) -> None:
    app = demo(stage, SHORT, pace=1.0)
    async with app.run_test(size=(80, 24)) as pilot:
        for at in range(4):
            place = f"{at + 1}/4"
            await until(pilot, partial(is_at, app, place), turns=LONG_TURNS)
            await pilot.press("n")
        await until(pilot, lambda: app.conductor.part is Part.OVER, turns=LONG_TURNS)
        assert "any key takes over" in caption(app)
        await pilot.press("j")
        assert app.conductor.part is Part.YOURS


async def test_space_pauses_before_the_next_act_and_n_plays_one_beat(stage: Stage) -> None:
    shown: list[str] = []

    async def note(beat: Beat) -> None:
        shown.append(beat.name)

    app = demo(stage, SHORT, pace=1.0, shown=note)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: shown == ["one"], turns=LONG_TURNS)
        await pilot.press("space")
        assert "PAUSED" in caption(app)
        await pilot.press("n")
        await until(pilot, lambda: shown == ["one", "two"], turns=LONG_TURNS)
        await pilot.press("n")
        await until(pilot, lambda: shown == ["one", "two", "three"], turns=LONG_TURNS)
        assert app.conductor.paused
        assert "Third." in caption(app)
        await pilot.press("space")
        assert "PAUSED" not in caption(app)


async def test_any_other_key_hands_the_console_over_and_does_nothing_else(stage: Stage) -> None:
    app = demo(stage, SHORT, pace=1.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1/4" in caption(app), turns=LONG_TURNS)
        await until(pilot, lambda: app.snapshot.started, turns=LONG_TURNS)
        before = plain(app).splitlines()[3:]
        await pilot.press("l")
        assert "You have it; ctrl+q ends." in caption(app)
        assert plain(app).splitlines()[3:] == before
        await pilot.press("question_mark")
        await until(pilot, lambda: on("HelpScreen").condition(app))
        assert "You have it" in caption(app)


async def test_what_never_comes_is_said_and_the_console_handed_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.demo.conductor.PATIENCE_S", 0.0)
    never = Beat("never", "Scene", "Waits.", (Await("a miracle", lambda _: False),))
    app = demo(stage, (never,))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.conductor.part is Part.YOURS)
        assert "a miracle" in caption(app)
        assert "ctrl+q" in caption(app)


async def test_ctrl_c_ends_a_demo_that_plays(stage: Stage) -> None:
    app = demo(stage, SHORT, pace=1.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1/4" in caption(app), turns=LONG_TURNS)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.return_code is not None, turns=LONG_TURNS)
    assert workers() == []
