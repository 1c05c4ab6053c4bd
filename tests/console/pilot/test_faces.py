"""The same keys, words and pixels, whichever face the engine shows the console."""

import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import LmxApp
from console.screens.chat import ChatScreen
from console.screens.detail import DetailScreen
from console.screens.explain import ExplainScreen
from console.screens.hosts import HostsScreen
from console.screens.log import LogScreen
from console.screens.prompt import PromptScreen
from console.screens.registry import RegistryScreen
from console.screens.requests import RequestsScreen
from engine import ChatTurn, EngineFace, FaceMismatch, Link, Notice, RemoteEngine
from engine.http import watch
from tests.console import fleet, gallery, stage
from tests.console.faces import FACES, attached, seen
from tests.console.scripted import Clock, ScriptedEngine
from tests.console.stage import plain
from tests.end_to_end.conftest import (  # noqa: F401 - fixtures
    Opener,
    Server,
    home,
    open_engine,
    serve,
    simulate,
)

SIZE = (120, 36)
PATIENCE_S = 60.0


class Operator:
    """Presses keys and reads the screen, and knows nothing of what is behind it."""

    def __init__(self, app: LmxApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    async def sees(self, *texts: str, not_now: str = "") -> str:
        """Wait until the screen shows every text."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            shown = plain(self.app)
            if all(text in shown for text in texts) and (not not_now or not_now not in shown):
                return shown
            await self._pilot.pause(0.02)
        pytest.fail(f"never saw {texts}; the screen was\n{plain(self.app)}")

    async def presses(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def answers(self, *keys: str) -> None:
        """Answer a dialog, once it takes keys for meant."""
        until = time.monotonic() + PATIENCE_S
        while not getattr(self.app.screen, "settled", False) and time.monotonic() < until:
            await self._pilot.pause(0.02)
        await self._pilot.press(*keys)

    async def chooses(self, model_id: str) -> None:
        await self.presses("g")
        for _ in range(10):
            if getattr(self.app.screen, "target_id", None) == model_id:
                return
            await self.presses("j")
        pytest.fail(f"{model_id} is not in the list")


@pytest.mark.parametrize("kind", FACES)
async def test_a_day_of_an_operator(
    kind: str,
    open_engine: Opener,  # noqa: F811
    simulate: Callable[..., str],  # noqa: F811
    home: Path,  # noqa: F811
) -> None:
    simulate("good", tokens_per_second=50, say=["It", " works", "."] * 700)
    simulate("huge", weights_gb=90_000)
    async with seen(kind, open_engine, home) as face:
        attached_to = "127.0.0.1:1" if kind == "remote" else ""
        app = LmxApp(engine=face, actor="ops@local", attached=attached_to)
        async with app.run_test(size=SIZE) as pilot:
            await day(Operator(app, pilot))


async def day(operator: Operator) -> None:
    """Look, be refused, load, talk, unload, hold, release."""
    await operator.sees("good", "huge", "unloaded")
    await operator.presses("slash", *"goo", "enter")
    await operator.sees("good", not_now="huge")
    await operator.presses("escape")
    await operator.sees("huge")

    await operator.chooses("huge")
    await operator.presses("e")
    await operator.sees("memory", "insufficient_memory")
    await operator.presses("escape", "l")
    await operator.sees("Load", "huge")
    await operator.answers("enter")
    await operator.presses("escape")
    await operator.chooses("good")
    await operator.presses("l")
    await operator.sees("Load", "admitted")
    await operator.answers("enter")
    await operator.sees("● good", "✓ memory")

    await operator.presses("c")
    await operator.sees("Chat", "Nothing said yet")
    await operator.presses(*"long", "enter")
    await operator.sees("It works")
    await operator.presses("escape")
    await operator.sees("cancelled")
    await operator.presses("escape")

    await operator.presses("u")
    await operator.sees("Unload good?")
    await operator.answers("tab", "enter")
    await operator.sees("│ · good")
    await operator.presses("h")
    await operator.sees("Hold good?")
    await operator.answers("tab", "enter")
    await operator.sees("✕ good", "held")
    await operator.presses("r")
    await operator.sees("Release good")
    await operator.answers("tab", "enter")
    await operator.sees("● good", "nothing is quarantined")


Ready = Callable[[Pilot[None]], Awaitable[None]]


def page(build: Callable[[], Any]) -> Ready:
    return stage.before(build)


async def ask(pilot: Pilot[None]) -> None:
    """Ask in a chat and wait for the answer."""
    await stage.before(lambda: ChatScreen("MiniMax-M2.5-4bit"))(pilot)
    await pilot.press(*"hello", "enter")
    await stage.until(pilot, lambda: "It works." in plain(pilot.app), turns=2000)  # type: ignore[arg-type]
    await pilot.app.workers.wait_for_complete()
    await stage.settle(pilot)


PICTURES: dict[str, Ready] = {
    "dashboard": stage.settle,
    "detail": page(lambda: DetailScreen("Kimi-K2.5-3bit")),
    "explain": page(lambda: ExplainScreen("broken-13B")),
    "registry": page(RegistryScreen),
    "requests": page(RequestsScreen),
    "hosts": page(HostsScreen),
    "log": page(LogScreen),
    "prompt": page(
        lambda: PromptScreen("MiniMax-M2.5-4bit", [ChatTurn("user", "hi")], asked=False)
    ),
    "chat": ask,
}


def scripted() -> ScriptedEngine:
    working = gallery.working()
    odd = gallery.routable("[bold]a\x1b]0;t\x07\udcff漢")
    engine = ScriptedEngine()
    models = (*working.models, odd, *fleet.models()[-4:])
    engine.set(
        working, models=models, notices=(Notice("n", "238 GB not back"),), hosts=fleet.hosts()
    )
    broken = working.model("broken-13B")
    assert broken is not None
    engine.explanations["broken-13B"] = stage.report(broken, stage.INCOMPLETE, stage.SIGNATURE)
    return engine


async def picture(console: Callable[..., LmxApp], face: EngineFace, ready: Ready) -> str:
    app = console(face, clock=Clock())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        # What is fetched from elsewhere takes a moment.
        await app.workers.wait_for_complete()
        await stage.settle(pilot)
        await pilot.press("down")
        await stage.settle(pilot)
        return app.export_screenshot()


async def test_the_same_pixels_over_the_wire(
    console: Callable[..., LmxApp],
    home: Path,  # noqa: F811
) -> None:
    engine = scripted()
    # A beat that a busy machine delays would be an age in the header.
    async with attached(engine, home, monotonic=Clock()) as face:
        differ = [
            name
            for name, ready in PICTURES.items()
            if await picture(console, engine, ready) != await picture(console, Kept(face), ready)
        ]
    assert not differ


class Kept:
    """A face that a console's end does not let go of: the next picture is taken of it."""

    def __init__(self, face: RemoteEngine) -> None:
        self._face = face

    def __getattr__(self, name: str) -> Any:
        return getattr(self._face, name)

    async def stop(self, *, drain_s: float = 0.0) -> None:
        return None


async def test_an_engine_killed_under_the_console_is_stale_and_its_successor_is_taken_up(
    serve: Server,  # noqa: F811
    simulate: Callable[..., str],  # noqa: F811
) -> None:
    simulate("good")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    first = serve("--api", where).ready()
    face = RemoteEngine(Link(f"http://{where}", actor="ops@local"), version="1")
    app = LmxApp(engine=face, actor="ops@local", attached=face.name)
    async with app.run_test(size=SIZE) as pilot:
        operator = Operator(app, pilot)
        await operator.sees(f"attached to {where}", "good", "unloaded")
        first.process.kill()
        await operator.sees("STALE", "trying again")
        await operator.presses("f5")
        await operator.sees("no engine answers at")
        serve("--api", where).ready()
        await operator.sees("good", "unloaded", not_now="STALE")
        await operator.presses("q")
        assert app.departure.begun


async def test_an_engine_exchanged_for_another_version_ends_the_console_with_a_sentence(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with attached(ScriptedEngine(gallery.working()), home) as face:
        app = LmxApp(engine=face, attached=face.name)
        async with app.run_test(size=SIZE) as pilot:
            await Operator(app, pilot).sees("MiniMax")
            monkeypatch.setattr(watch, "PROTOCOL", 99)
            await face.stop()
            face._watching = None
            face._watcher.known.clear()
            with pytest.raises(FaceMismatch):
                await face.start()
            await stage.until(pilot, lambda: app.return_code is not None, turns=2000)
    assert app.return_code == 1
    assert "speaks face 99" in capsys.readouterr().err
