"""The detail screen: one model from all sides, live."""

from collections.abc import Callable
from dataclasses import replace

from console.app import LmxApp
from console.screens.detail import DetailScreen
from engine import MemoryEstimate, Readiness, RegistryRow, Transition
from tests.console import gallery
from tests.console.scripted import GB, T0, Clock, ScriptedEngine, snapshot_of
from tests.console.stage import (
    ARCHITECTURE,
    HOSTILE,
    SIZE,
    assert_harmless,
    open_screen,
    plain,
    report,
    settle,
    until,
)

Build = Callable[..., LmxApp]
KIMI = "Kimi-K2.5-3bit"
TALL = (120, 90)


def struck_out() -> ScriptedEngine:
    evidence = replace(gallery.evidence(KIMI), exit_code=134, stderr_tail="first line\nlast line\n")
    steps = (
        Transition(T0 - 90, Readiness.CANARY_PENDING, Readiness.ROUTABLE, "canary passed", ""),
        Transition(T0 - 60, Readiness.ROUTABLE, Readiness.QUARANTINED, "third strike", "engine"),
    )
    model = gallery.quarantined(
        transitions=steps,
        canary=gallery.canary(KIMI, 9),
        estimate=MemoryEstimate(340 * GB, 18 * GB, 4 * GB, 32768),
        measured_bytes=371 * GB,
    )
    return ScriptedEngine(snapshot_of(model, quarantine=(gallery.case(evidence=(evidence,)),)))


async def test_everything_known_of_a_quarantined_model(console: Build) -> None:
    app = console(struck_out())
    async with app.run_test(size=TALL) as pilot:
        await open_screen(app, pilot, DetailScreen(KIMI))
        text = plain(app)
        for word in (
            *(
                "quarantined",
                "model_unstable",
                "3 strikes: SIGABRT",
                "you may release it (r) in 4:12",
            ),
            *("/models/Kimi-K2.5-3bit", "mlx-lm 0.32.2, mlx 0.32.4", "32,768 trained"),
            *(
                "handshake",
                "46.2 tok/s",
                "ran 14:02:10, before it died",
                "362 GB",
                "18 GB  cache for 32,768 tokens",
                "512 GB of 512 GB",
            ),
            *("canary_pending → routable", "third strike (engine)", "SIGABRT exit code 134"),
            *("prefill 41k tok, client openclaw-3", "first line", "last line"),
        ):
            assert word in text, word
        assert "371 GB" not in text, "no worker holds it any more"


async def test_the_history_of_its_canaries_with_their_times(console: Build) -> None:
    engine = struck_out()
    steps = {"handshake": ["pass", 2.0], "decode": ["pass", 310.0], "cancel": ["skipped", None]}
    about = {"event": "canary", "steps": steps}
    passed = RegistryRow(T0 - 90_000, KIMI, "mlx", "mlx-lm 0.30.7", "pass", "canary 9/9", about)
    other = replace(passed, model_id="another", reason="of another")
    strike = replace(passed, ts=T0 - 60, outcome="fail", reason="SIGABRT", metadata={})
    engine.older = (strike, other, passed)
    app = console(engine)
    async with app.run_test(size=TALL) as pilot:
        await open_screen(app, pilot, DetailScreen(KIMI))
        await until(pilot, lambda: "took 312 ms" in plain(app))
        text = plain(app)
        newest = text.index("14:01:11     fail")
        assert newest < text.index("22 Nov 13:02 pass canary      mlx-lm 0.30.7    canary 9/9")
        assert "of another" not in text
        # A new row is read as soon as the snapshot counts it.
        engine.older = (replace(strike, ts=T0 - 5, reason="SIGSEGV"), *engine.older)
        engine.set(registry_total=4)
        await settle(pilot)
        await until(pilot, lambda: "14:02:06     fail" in plain(app))


async def test_the_gate_s_answer_to_each_check_and_again_on_f5(console: Build) -> None:
    engine = struck_out()
    model = engine.snapshot().models[0]
    engine.explanations[KIMI] = report(model, ARCHITECTURE)
    app = console(engine)
    async with app.run_test(size=TALL) as pilot:
        await open_screen(app, pilot, DetailScreen(KIMI))
        await until(pilot, lambda: "refused: model_unsupported_arch" in plain(app))
        assert "glm_moe_dsa" in plain(app)
        engine.explanations[KIMI] = report(model)
        await pilot.press("f5")
        await until(pilot, lambda: "✓ admitted" in plain(app))


async def test_the_first_the_worst_and_the_last_failure_are_told_apart(console: Build) -> None:
    kept = tuple(replace(gallery.evidence(KIMI), at=T0 - 60 * i, cause=f"c{i}") for i in (3, 2, 1))
    engine = ScriptedEngine(
        snapshot_of(gallery.quarantined(), quarantine=(gallery.case(evidence=kept),))
    )
    app = console(engine)
    async with app.run_test(size=TALL) as pilot:
        await open_screen(app, pilot, DetailScreen(KIMI))
        text = plain(app)
        assert text.index("last  c1") < text.index("worst  c2") < text.index("first  c3")


async def test_a_drain_counts_down_with_what_is_left(console: Build) -> None:
    clock = Clock()
    model = gallery.routable("m", draining=True, drain_until=T0 + 27)
    engine = ScriptedEngine(snapshot_of(model))
    app = console(engine, clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, DetailScreen("m"))
        assert "draining 27 s" in plain(app)
        assert "2 requests are left, cancelled in 27 s" in plain(app)
        clock.advance(20)
        engine.change("m", requests=1)
        await settle(pilot)
        assert "1 request is left, cancelled in 7 s" in plain(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "draining 7 s" in plain(app)
        assert "cancelled in 7 s" in plain(app)


async def test_sections_open_by_key_and_by_argument(console: Build) -> None:
    app = console(struck_out())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, DetailScreen(KIMI, section="evidence"))
        assert "last line" in plain(app)
        await pilot.press("2")
        await settle(pilot)
        assert "handshake" in plain(app)
        await pilot.press("3")
        await settle(pilot)
        assert "3 strikes: SIGABRT" in plain(app)
        await pilot.press("6")
        await settle(pilot)
        assert "last line" in plain(app)
        await pilot.press("7")
        await settle(pilot)
        assert "History in the registry" in plain(app)
        await pilot.press("8")
        await settle(pilot)
        assert "as the gate sees it now" in plain(app)


async def test_it_follows_the_model_and_says_when_it_is_gone(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.loading("m")))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, DetailScreen("m"))
        assert "loading 42 %" in plain(app)
        engine.change("m", readiness=Readiness.ROUTABLE, progress=None)
        await settle(pilot)
        assert "routable" in plain(app)
        engine.set(models=())
        await settle(pilot)
        assert "no longer in the catalog" in plain(app)


async def test_a_failed_canary_a_probation_and_a_simulation_are_named(console: Build) -> None:
    failed = gallery.quarantined("a", evidence=gallery.evidence("a", "canary: perplexity"))
    trying = gallery.routable("b", probation=True, simulated=True)
    app = console(ScriptedEngine(snapshot_of(failed, trying)))
    async with app.run_test(size=TALL) as pilot:
        await open_screen(app, pilot, DetailScreen("a"))
        assert "model_canary_failed" in plain(app)
        await pilot.press("escape")
        await open_screen(app, pilot, DetailScreen("b"))
        assert "Model · b sim" in plain(app)
        assert "puts it back into quarantine" in plain(app)


async def test_its_keys_act_on_its_model(console: Build) -> None:
    engine = ScriptedEngine(snapshot_of(gallery.routable("a"), gallery.routable("b")))
    app = console(engine)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, DetailScreen("b"))
        await pilot.press("C")
        await settle(pilot)
        assert [call.model_id for call in engine.asked("canary")] == ["b"]


async def test_hostile_evidence_stays_text(console: Build) -> None:
    evidence = replace(
        gallery.evidence(HOSTILE, HOSTILE), stderr_tail=HOSTILE * 30, requests=(HOSTILE,) * 5
    )
    model = gallery.quarantined(
        HOSTILE,
        evidence=evidence,
        reason=HOSTILE,
        path="/" + HOSTILE,
        refusal=gallery.refusal(message=HOSTILE, found=HOSTILE),
        architecture=HOSTILE,
        transitions=(Transition(T0, Readiness.UNLOADED, Readiness.ADMITTED, HOSTILE, HOSTILE),),
    )
    case = gallery.case(HOSTILE, evidence=(evidence,), reason=HOSTILE)
    app = console(ScriptedEngine(snapshot_of(model, quarantine=(case,))))
    async with app.run_test(size=(80, 200)) as pilot:
        await open_screen(app, pilot, DetailScreen(HOSTILE))
        assert_harmless(plain(app))
        for size in ((120, 36), (80, 24), (60, 16)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert_harmless(plain(app))
