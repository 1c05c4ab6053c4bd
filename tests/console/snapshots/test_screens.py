"""How the screens beside the dashboard look."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from console.screens.chat import ChatScreen
from console.screens.detail import DetailScreen
from console.screens.explain import ExplainScreen
from console.screens.help import HelpScreen
from console.screens.hosts import HostsScreen
from console.screens.log import LogScreen
from console.screens.prompt import PromptScreen
from console.screens.registry import RegistryScreen
from console.screens.requests import RequestsScreen
from engine import (
    ChatDelta,
    ChatEnd,
    ChatTurn,
    Code,
    Decision,
    MemoryEstimate,
    Readiness,
    RegistryRow,
    Transition,
)
from tests.console import fleet, gallery
from tests.console.scripted import GB, T0, ScriptedEngine, ScriptedStream, snapshot_of
from tests.console.stage import ARCHITECTURE, SIGNATURE, SIZE, before, report

Build = Callable[..., Any]
Compare = Callable[..., bool]
LARGE = (120, 36)
KIMI, MINIMAX = "Kimi-K2.5-3bit", "MiniMax-M2.5-4bit"
ASK = ("H", "e", "l", "l", "o", "enter")
CRASH = Decision(
    Code.MODEL_UNSTABLE,
    409,
    "the worker died under this request: SIGSEGV",
    True,
    check="worker",
    found=(
        "SIGSEGV (signal 11)\nggml_metal: out of command buffers\n"
        "GGML_ASSERT: n_tokens <= n_batch\x1b[0m"
    ),
    remedy="it restarts with back-off; ask again once it is routable (strike 1 of 3)",
)


def quarantined() -> ScriptedEngine:
    tail = "ggml_metal: out of command buffers\nGGML_ASSERT: n_tokens <= n_batch\n"
    failures = tuple(
        replace(gallery.evidence(KIMI), at=T0 - 43_000 + 120 * i, stderr_tail=tail)
        for i in range(3)
    )
    ready, since = Readiness, T0 - 44_000
    steps = tuple(
        Transition(since + 300 * i, source, target, cause, actor)
        for i, (source, target, cause, actor) in enumerate(
            (
                (ready.UNLOADED, ready.ADMITTED, "admitted by the gate", "ops@10.0.0.7"),
                (ready.ADMITTED, ready.LOADING, "worker started", ""),
                (ready.LOADING, ready.CANARY_PENDING, "loaded", ""),
                (ready.CANARY_PENDING, ready.ROUTABLE, "canary passed", ""),
                (ready.ROUTABLE, ready.QUARANTINED, "third strike", ""),
            )
        )
    )
    model = gallery.quarantined(
        transitions=steps,
        since=steps[-1].at,
        canary=gallery.canary(KIMI, 9),
        estimate=MemoryEstimate(340 * GB, 18 * GB, 4 * GB, 32768),
        measured_bytes=371 * GB,
        evidence=failures[-1],
    )
    state = gallery.working()
    models = tuple(model if m.id == KIMI else m for m in state.models)
    case = gallery.case(evidence=failures, since=steps[-1].at)
    return ScriptedEngine(replace(state, models=models, quarantine=(case,)))


def talking(*streams: ScriptedStream) -> ScriptedEngine:
    engine = ScriptedEngine(gallery.working())
    engine.streams = list(streams)
    return engine


def test_chat_with_an_answer(console: Build, snap_compare: Compare) -> None:
    words = (
        "The capital of France is Paris.\n\nIt lies on the Seine, and with short breaks has been "
        "the capital since the end of the tenth century.\n\n    def capital():\n        return 1"
    )
    end = ChatEnd("stop", 17, 48, ttft_ms=240.0, tokens_per_second=46.2)
    app = console(talking(ScriptedStream([ChatDelta(words, 48), end])))
    run = before(lambda: ChatScreen(MINIMAX), *ASK)
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_chat_streaming_with_settings(console: Build, snap_compare: Compare) -> None:
    app = console(talking(ScriptedStream([ChatDelta("The capital of", 3)], hold=True)))
    run = before(lambda: ChatScreen(MINIMAX), *ASK, "ctrl+o")
    assert snap_compare(app, terminal_size=LARGE, run_before=run)


def test_chat_after_a_crash(console: Build, snap_compare: Compare) -> None:
    death: list[ChatDelta | ChatEnd] = [
        ChatDelta("The capital of France", 4),
        ChatEnd("error", 17, 4, decision=CRASH),
    ]
    app = console(talking(ScriptedStream(death)))
    run = before(lambda: ChatScreen(MINIMAX), *ASK)
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_explain_refused(console: Build, snap_compare: Compare) -> None:
    engine = ScriptedEngine(gallery.working())
    model = gallery.model("GLM-5-2.5bit", 185, "mlx")
    engine.explanations[model.id] = report(model, ARCHITECTURE, SIGNATURE)
    run = before(lambda: ExplainScreen(model.id))
    assert snap_compare(console(engine), terminal_size=SIZE, run_before=run)


def test_detail_quarantined(console: Build, snap_compare: Compare) -> None:
    run = before(lambda: DetailScreen(KIMI))
    assert snap_compare(console(quarantined()), terminal_size=LARGE, run_before=run)


def test_detail_evidence(console: Build, snap_compare: Compare) -> None:
    run = before(lambda: DetailScreen(KIMI, section="evidence"))
    assert snap_compare(console(quarantined()), terminal_size=SIZE, run_before=run)


def test_detail_in_service_and_draining(console: Build, snap_compare: Compare) -> None:
    """Canary, history with times, the parts of the estimate, the gate's answers, a drain."""
    steps = {name: ["pass", ms] for name, ms in zip(gallery.STEPS, gallery.TIMES, strict=True)}
    canary = {"event": "canary", "steps": steps}
    strike = {"event": "strike"}
    history = (
        RegistryRow(T0 - 5, MINIMAX, "mlx", gallery.MLX, "pass", "canary 9/9, 46.2 tok/s", canary),
        RegistryRow(T0 - 70, MINIMAX, "mlx", gallery.MLX, "fail", "SIGABRT", strike),
        RegistryRow(T0 - 90_000, MINIMAX, "mlx", "mlx-lm 0.30.7", "pass", "canary 9/9", canary),
    )
    estimate = MemoryEstimate(121 * GB, 8 * GB, 2 * GB, 32768)
    model = gallery.routable(
        MINIMAX, draining=True, drain_until=T0 + 27, estimate=estimate, strikes=1, pid=4242
    )
    engine = ScriptedEngine(snapshot_of(model, registry=history))
    engine.explanations[MINIMAX] = report(model)
    run = before(lambda: DetailScreen(MINIMAX))
    assert snap_compare(console(engine), terminal_size=(120, 60), run_before=run)


def test_prompt(console: Build, snap_compare: Compare) -> None:
    turns = (
        ChatTurn("system", "Be brief."),
        ChatTurn("user", "Which river runs through the capital of France?"),
        ChatTurn("assistant", "The Seine."),
        ChatTurn("user", "And through that of England?"),
    )
    run = before(lambda: PromptScreen(MINIMAX, turns, asked=False))
    app = console(ScriptedEngine(gallery.working()))
    assert snap_compare(app, terminal_size=SIZE, run_before=run)


def test_registry(console: Build, snap_compare: Compare) -> None:
    run = before(RegistryScreen, "j")
    assert snap_compare(console(quarantined()), terminal_size=SIZE, run_before=run)


def test_log(console: Build, snap_compare: Compare) -> None:
    levels = ("info", "info", "warn", "info", "error")
    events = tuple(
        gallery.event(f"what happened, number {i}", MINIMAX if i % 3 else "", i, ts=T0 - 60 + i,
                      level=levels[i % 5])
        for i in range(1, 41)
    )  # fmt: skip
    app = console(ScriptedEngine(replace(gallery.working(), events=events)))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(LogScreen))


def test_requests(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(gallery.working()))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(RequestsScreen))


def test_hosts(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(fleet.working()))
    assert snap_compare(app, terminal_size=LARGE, run_before=before(HostsScreen, "j"))


def test_hosts_stale(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(fleet.working()))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(HostsScreen, "j", "j"))


def test_hosts_lost(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(fleet.working()))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(HostsScreen, "G"))


def test_hosts_alone(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(fleet.lone()))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(HostsScreen))


def test_help(console: Build, snap_compare: Compare) -> None:
    app = console(ScriptedEngine(gallery.working()))
    assert snap_compare(app, terminal_size=SIZE, run_before=before(HelpScreen))
