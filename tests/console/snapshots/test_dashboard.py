"""How the dashboard looks. Logic is asserted elsewhere; here a change of looks must be meant."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from engine import Code, EngineSnapshot, Notice
from tests.console import fleet, gallery
from tests.console.scripted import T0, Clock, ScriptedEngine, snapshot_of

Build = Callable[..., Any]
Compare = Callable[..., bool]
SMALL, LARGE = (80, 24), (120, 36)


def shot(
    console: Build,
    compare: Compare,
    snapshot: EngineSnapshot,
    *,
    size: tuple[int, int] = SMALL,
    select: str | None = None,
    keys: tuple[str, ...] = (),
    **options: Any,
) -> bool:
    """Compare the dashboard on this snapshot, with a model selected and keys pressed."""
    app = console(ScriptedEngine(snapshot), **options)

    async def before(pilot: Pilot[None]) -> None:
        app.pump.pull()
        await pilot.pause()
        if select is not None:
            app.screen.target_id = select
            app.screen.redraw()
        await pilot.press(*keys)
        await app.workers.wait_for_complete()
        await pilot.pause()

    ready: Callable[[Pilot[None]], Awaitable[None]] = before
    return compare(app, terminal_size=size, run_before=ready)


def test_small(console: Build, snap_compare: Compare) -> None:
    assert shot(console, snap_compare, gallery.working(), select="MiniMax-M2.5-4bit")


def test_large(console: Build, snap_compare: Compare) -> None:
    snapshot = gallery.working()
    assert shot(console, snap_compare, snapshot, size=LARGE, select="GLM-5-2.5bit")


def test_very_wide(console: Build, snap_compare: Compare) -> None:
    busy = gallery.working()
    models = tuple(replace(m, idle_since=T0 - 400) if m.requests else m for m in busy.models)
    snapshot = replace(busy, models=models)
    assert shot(console, snap_compare, snapshot, size=(200, 50), select="GLM-5-2.5bit")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_empty(console: Build, snap_compare: Compare, size: tuple[int, int]) -> None:
    assert shot(console, snap_compare, snapshot_of(host="mono512"), size=size)


def test_quarantined_small(console: Build, snap_compare: Compare) -> None:
    snapshot = gallery.working()
    assert shot(console, snap_compare, snapshot, select="Kimi-K2.5-3bit", keys=("3",))


def test_refused(console: Build, snap_compare: Compare) -> None:
    refusals = (
        gallery.refused(),
        gallery.refused(
            "GLM-5-4bit",
            backend="mlx",
            refusal=gallery.refusal(
                Code.MODEL_UNSUPPORTED_BACKEND,
                message="glm_moe_dsa is known to fail on mlx-lm 0.30.7",
                remedy="upgrade mlx-lm to 0.31 or later",
                overridable=True,
            ),
        ),
        gallery.refused("huge-405B", refusal=gallery.refusal(Code.INSUFFICIENT_MEMORY)),
        gallery.refused("odd", refusal=gallery.refusal(Code.MODEL_UNSUPPORTED_ARCH)),
    )
    assert shot(console, snap_compare, snapshot_of(*refusals), select="GLM-5-4bit")


def test_loading_and_canary(console: Build, snap_compare: Compare) -> None:
    snapshot = snapshot_of(
        gallery.loading(),
        gallery.loading("SmolLM2-135M-Instruct-MLX", None, backend="mlx", stage="building"),
        gallery.loading("crashy-7B", retry_at=T0 + 2, strikes=1),
        gallery.proving(),
        gallery.routable(draining=True),
        gallery.routable("mlx-community/Qwen3-4B-Instruct-4bit", 4.1, probation=True, strikes=2),
        gallery.routable("pretender", 120, backend="simulated", simulated=True),
    )
    assert shot(console, snap_compare, snapshot, size=LARGE, select="GLM-5-2.5bit")


def test_canary_failed(console: Build, snap_compare: Compare) -> None:
    run = gallery.canary("Kimi-K2.5-3bit", 4, failed="perplexity")
    snapshot = snapshot_of(gallery.quarantined(canary=run, strikes=0, reason="canary failed"))
    assert shot(console, snap_compare, snapshot, select="Kimi-K2.5-3bit", keys=("2",))


def test_too_small(console: Build, snap_compare: Compare) -> None:
    assert shot(console, snap_compare, gallery.working(), size=(50, 12))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_hosts(console: Build, snap_compare: Compare, size: tuple[int, int]) -> None:
    assert shot(
        console, snap_compare, fleet.working(), size=size, select="gemma-3-27b-it-qat@gpu-2"
    )


def test_filter(console: Build, snap_compare: Compare) -> None:
    assert shot(console, snap_compare, gallery.working(), keys=("slash", "m", "l", "x"))


def test_notices(console: Build, snap_compare: Compare) -> None:
    notices = (
        Notice("port", "port 1234 is taken by llama-server (pid 4242): no API", "error"),
        Notice("memory", "238 GB not returned; a reboot may be needed"),
        Notice("third", "one more"),
    )
    snapshot = replace(gallery.working(), notices=notices)
    assert shot(console, snap_compare, snapshot, select="MiniMax-M2.5-4bit")


def test_engine_down(console: Build, snap_compare: Compare) -> None:
    engine = ScriptedEngine(snapshot_of(started=False, runtimes=(), host="mono512", api=""))
    engine.start_error = PermissionError(13, "Permission denied", "/home/ops/.opta-lmx")
    app = console(engine)

    async def before(pilot: Pilot[None]) -> None:
        await app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press("l")
        await pilot.pause()

    assert snap_compare(app, terminal_size=SMALL, run_before=before)


def test_stale(console: Build, snap_compare: Compare) -> None:
    engine, clock = ScriptedEngine(gallery.working()), Clock()
    app = console(engine, clock=clock)

    async def before(pilot: Pilot[None]) -> None:
        await pilot.pause()
        engine.broken = RuntimeError("gone")
        clock.advance(42)
        app.screen.redraw()
        await pilot.pause()

    assert snap_compare(app, terminal_size=SMALL, run_before=before)


@pytest.mark.parametrize("theme", ["light", "ansi"])
def test_themes(console: Build, snap_compare: Compare, theme: str) -> None:
    snapshot = gallery.working()
    assert shot(console, snap_compare, snapshot, theme=theme, select="MiniMax-M2.5-4bit")


def test_no_color(console: Build, snap_compare: Compare) -> None:
    snapshot = gallery.working()
    assert shot(console, snap_compare, snapshot, no_color=True, select="MiniMax-M2.5-4bit")


def test_ascii(console: Build, snap_compare: Compare) -> None:
    snapshot = gallery.working()
    assert shot(console, snap_compare, snapshot, ascii_only=True, select="GLM-5-2.5bit")


def test_hostile_names(console: Build, snap_compare: Compare) -> None:
    names = ("[bold red]x[/]", "a\x1b]0;title\x07b", "x\u202egnp.exe", "x" * 200, "漢字" * 60)
    snapshot = snapshot_of(*(gallery.routable(name) for name in names))
    assert shot(console, snap_compare, snapshot, size=LARGE, select="a\x1b]0;title\x07b")
