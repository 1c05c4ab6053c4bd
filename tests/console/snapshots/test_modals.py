"""How the dialogs look over the dashboard."""

from collections.abc import Callable
from typing import Any

from console.modals.confirm import ConfirmDialog
from console.modals.load import LoadDialog
from console.modals.override import OverrideDialog
from console.modals.quit import QuitDialog
from engine import EngineError, EngineSnapshot, Explanation, LoadOptions, MemoryEstimate, ModelView
from tests.console import gallery
from tests.console.scripted import GB, ScriptedEngine, snapshot_of
from tests.console.stage import (
    ARCHITECTURE,
    HOSTILE,
    INCOMPLETE,
    MEMORY,
    SIGNATURE,
    SIZE,
    before,
    report,
)

Build = Callable[..., Any]
Compare = Callable[..., bool]
LARGE = (120, 36)
GLM = gallery.model(
    "zai-org/GLM-5-2.5bit",
    190,
    "mlx",
    estimate=MemoryEstimate(190 * GB, 12 * GB, 2 * GB, 32768),
)


def full_house(model: ModelView) -> EngineSnapshot:
    return snapshot_of(
        gallery.routable(), gallery.routable("Qwen3-235B-4bit", 190, requests=0), model
    )


def load_dialog(model: ModelView, explanation: Explanation) -> LoadDialog:
    async def explain(options: LoadOptions) -> Explanation:
        return explanation

    async def load(options: LoadOptions) -> None:
        if explanation.decision is not None:
            raise EngineError(explanation.decision)

    return LoadDialog(model, full_house(model), explain, load)


def test_confirm(console: Build, snap_compare: Compare) -> None:
    lines = (
        "MiniMax-M2.5-4bit is routable.",
        "2 in flight will drain first:",
        "  openclaw-3  decode  64 tokens so far",
        "  openclaw-3  prefill  0 tokens so far",
    )
    app = console(ScriptedEngine(gallery.working()))
    run = before(lambda: ConfirmDialog("Unload MiniMax-M2.5-4bit?", lines, "Unload"))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_quit(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(gallery.working()))
    run = before(lambda: QuitDialog(["MiniMax-M2.5-4bit", "GLM-5-2.5bit"], 2))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_load(console: Build, snap_compare: Compare) -> None:
    model = gallery.model(
        "Qwen3-8B-Q4_K_M", estimate=MemoryEstimate(5 * GB, GB // 2, GB // 5, 4096)
    )
    app = console(ScriptedEngine(full_house(model)))
    run = before(lambda: load_dialog(model, report(model)))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_load_refused(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(full_house(GLM)))
    run = before(lambda: load_dialog(GLM, report(GLM, MEMORY)), "enter")
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_override_mixed(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(full_house(GLM)))
    run = before(lambda: OverrideDialog(GLM, report(GLM, ARCHITECTURE, SIGNATURE, MEMORY)))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_override_would_not_help(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(full_house(GLM)))
    run = before(lambda: OverrideDialog(GLM, report(GLM, INCOMPLETE, ARCHITECTURE, MEMORY)))
    assert snap_compare(app, terminal_size=LARGE, run_before=run)


def test_hostile_name_in_ascii(console: Build, snap_compare: Compare) -> None:
    model = gallery.model(HOSTILE, 204, "mlx")
    app = console(ScriptedEngine(full_house(model)), ascii_only=True)
    run = before(lambda: OverrideDialog(model, report(model, ARCHITECTURE)))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)
