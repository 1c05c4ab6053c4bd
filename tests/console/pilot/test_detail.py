"""The detail screen: one model from all sides, live."""

from collections.abc import Callable
from dataclasses import replace

from console.app import LmxApp
from console.screens.detail import DetailScreen
from engine import MemoryEstimate, Readiness, Transition
from tests.console import gallery
from tests.console.scripted import GB, T0, ScriptedEngine, snapshot_of
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle

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
                "cache 18 GB for 32,768 tokens",
            ),
            *("canary_pending → routable", "third strike (engine)", "SIGABRT exit code 134"),
            *("prefill 41k tok, client openclaw-3", "first line", "last line"),
        ):
            assert word in text, word
        assert "371 GB" not in text, "no worker holds it any more"


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
