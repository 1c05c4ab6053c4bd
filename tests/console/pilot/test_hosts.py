"""The hosts on screen: opened by a key, told as they change, and the way to one's models."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from console.app import LmxApp
from console.modals.load import LoadDialog
from console.screens.chat import ChatScreen
from console.screens.dashboard import DashboardScreen
from console.screens.detail import DetailScreen
from console.screens.hosts import HostsScreen
from engine import Backend, HostState, Readiness, RuntimeView
from tests.console import fleet
from tests.console.faces import attached
from tests.console.scripted import T0, Clock, ScriptedEngine
from tests.console.stage import SIZE, open_screen, plain, settle, until
from tests.engine.fleet.paper import ACTOR, PaperCluster, view

Build = Callable[..., LmxApp]


def silenced(engine: ScriptedEngine, name: str, state: HostState, why: str = "") -> None:
    """A host changes."""
    engine.set(
        hosts=tuple(
            replace(host, state=state, heard_at=T0, why=why) if host.name == name else host
            for host in engine.snapshot().hosts
        )
    )


async def test_enter_on_a_host_leads_to_its_models(console: Build) -> None:
    app = console(ScriptedEngine(fleet.working()))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("H")
        await settle(pilot)
        assert isinstance(app.screen, HostsScreen)
        assert "Hosts 4" in plain(app)
        await pilot.press("j", "j", "enter")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        text = plain(app)
        assert "Models 2/9" in text
        assert "filter: host:gpu-2" in text
        assert app.screen.target_id == "gemma-3-27b-it-qat@gpu-2"
        await pilot.press("escape")
        await settle(pilot)
        assert "MiniMax" in plain(app)
        assert "filter:" not in plain(app)


async def test_from_the_details_of_a_model_it_leads_back_to_the_list(console: Build) -> None:
    app = console(ScriptedEngine(fleet.working()))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, DetailScreen("phi-4-Q4_K_M@gpu-2"))
        text = plain(app)
        assert "□ STALE unloaded" in text
        assert "gpu-2 is not heard" in text
        await pilot.press("H", "enter")
        await settle(pilot)
        assert len(app.screen_stack) == 1
        assert "filter: host:mono512" in plain(app)


async def test_the_filter_of_the_hosts_and_its_row_to_copy(console: Build) -> None:
    app = console(ScriptedEngine(fleet.working()))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, HostsScreen())
        await pilot.press("slash", *"stale", "enter")
        await settle(pilot)
        assert "Hosts 1/4" in plain(app)
        assert "Linux aarch64" not in plain(app)
        assert app.screen.copy_text.startswith("□ gpu-2")  # type: ignore[attr-defined]
        await pilot.press("escape", "slash", *"xyz", "enter", "enter")
        await settle(pilot)
        assert "nothing matches the filter" in plain(app)
        assert "no host is chosen" in plain(app)


@pytest.mark.parametrize("kind", ["embedded", "remote"])
async def test_a_test_chat_is_with_the_chosen_copy_and_no_other(
    console: Build, kind: str, tmp_path: Path
) -> None:
    cluster = PaperCluster(tmp_path)
    cluster.put("own", "pair")
    cluster.put("b", "pair")
    async with cluster.engine() as engine, AsyncExitStack() as stack:
        await cluster.join("b")
        there = view(engine, "pair@b")
        await engine.load("pair@b", actor=ACTOR, expect=there.version, wait=True)
        if kind == "remote":
            face = await stack.enter_async_context(attached(engine, tmp_path / "attached"))
            app = console(face, attached=face.name)
        else:
            app = console(engine)
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: "routable" in plain(app), turns=1000)
            await open_screen(app, pilot, ChatScreen("pair"))
            await pilot.press("h", "i", "enter")
            await until(pilot, lambda: "not_ready" in plain(app), turns=1000)
            await pilot.press("escape")
            await open_screen(app, pilot, ChatScreen("pair@b"))
            await pilot.press("h", "i", "enter")
            await until(pilot, lambda: "It works" in plain(app), turns=1000)


async def test_a_model_lost_with_its_host_may_be_let_go_of(
    console: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.modals.dialog.TYPE_AHEAD_S", 0.0)
    cluster = PaperCluster(tmp_path)
    cluster.put("b", "pair")
    async with cluster.engine() as engine:
        await cluster.join("b")
        await engine.load("pair@b", actor=ACTOR, wait=True)
        app = console(engine)
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: "routable" in plain(app), turns=1000)
            [worker] = cluster.placement.alive
            await cluster.lose("b")
            worker.bereave("its node is gone")
            await until(pilot, lambda: "no other host has the files" in plain(app), turns=1000)
            await pilot.press("u")
            await until(pilot, lambda: "It was lost with b." in plain(app))
            await pilot.press("tab", "enter")
            await until(pilot, lambda: not view(engine, "pair@b").reason, turns=1000)
        await cluster.join("b")
        assert view(engine, "pair@b").readiness is Readiness.UNLOADED


async def test_a_lone_host_says_how_to_get_more(console: Build) -> None:
    app = console(ScriptedEngine(fleet.lone()))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert "HOST" not in plain(app)
        assert "H hosts" not in plain(app)
        await pilot.press("H")
        await settle(pilot)
        assert "lmx serve --cluster auto" in plain(app)
        await pilot.press("j", "enter")
        await settle(pilot)
        assert "filter: host:mono512" in plain(app)


async def test_before_the_engine_has_started_there_is_none(console: Build) -> None:
    app = console(ScriptedEngine(replace(fleet.lone(), hosts=(), models=(), started=False)))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, HostsScreen())
        assert "no host is known before the engine has started" in plain(app)


async def test_a_load_is_weighed_against_the_hosts_own_memory_and_models(console: Build) -> None:
    newer = RuntimeView("newer", Backend.GGUF, "llama-cpp-python 0.4.0")
    there = tuple(
        replace(host, runtimes=(newer,)) if host.name == fleet.STALE else host
        for host in fleet.hosts()
    )
    app = console(ScriptedEngine(replace(fleet.working(), hosts=there)))
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.screen.target_id = "phi-4-Q4_K_M@gpu-2"  # type: ignore[attr-defined]
        await pilot.press("l")
        await until(pilot, lambda: "admitted" in plain(app))
        assert isinstance(app.screen, LoadDialog)
        assert "needs 9.0 GB, 280 GB free of 320 GB" in plain(app)
        assert app.screen.runtimes == ("installed", "newer")


@pytest.mark.parametrize("kind", ["scripted", "remote"])
async def test_a_host_that_falls_silent_is_said_and_comes_back(
    console: Build, kind: str, tmp_path: Path
) -> None:
    engine = ScriptedEngine(fleet.working())
    if kind == "scripted":
        await falls_silent(console(engine), engine)
        return
    async with attached(engine, tmp_path) as face:
        app = console(face, attached=face.name)
        await falls_silent(app, engine)


async def falls_silent(app: LmxApp, engine: ScriptedEngine) -> None:
    async with app.run_test(size=(120, 36)) as pilot:

        def shows(*texts: str) -> Callable[[], bool]:
            return lambda: all(text in plain(app) for text in texts)

        await until(pilot, shows("◇ GLM-5", "host gpu-2 STALE"))
        silenced(engine, fleet.WELL, HostState.STALE)
        await until(pilot, shows("□ GLM-5", "2 hosts STALE"), turns=1000)
        silenced(engine, fleet.WELL, HostState.LOST, "its node is gone")
        await until(pilot, shows("■ GLM-5", "host lost", "host gpu-2 STALE"), turns=1000)
        await pilot.press("H", "j")
        await until(pilot, shows("LOST", "gpu-1 is lost: its node is gone"))
        silenced(engine, fleet.WELL, HostState.OK)
        await until(pilot, shows("1 STALE, 1 LOST", "10.0.0.11"), turns=1000)


async def test_a_stale_host_counts_on_its_own_screen_alone(console: Build) -> None:
    clock = Clock()
    app = console(ScriptedEngine(replace(fleet.working(), quarantine=())), clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        dashboard = app.screen
        assert isinstance(dashboard, DashboardScreen)
        drawn = dashboard._drawn
        for _ in range(20):
            clock.advance(app.pump.period_s)
            app.pump.pull()
            assert dashboard._seen(clock(), app.pulse) == drawn
        await open_screen(app, pilot, HostsScreen())
        assert "16 s" in plain(app)
        clock.advance(9)
        app.screen.redraw()  # type: ignore[attr-defined]
        await settle(pilot)
        assert "25 s" in plain(app)
