"""One engine seen through three faces: beside the console, over an API, or played from a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from engine import ApiServer, EngineFace, Link, LoadOptions, Readiness, RemoteEngine, load_settings
from engine.address import Address
from engine.face import ApiFace
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, ScriptedStream, snapshot_of
from tests.console.stage import MEMORY, report

FACES = ("embedded", "scripted", "remote")


@asynccontextmanager
async def attached(engine: ApiFace, home: Path, **options: Any) -> AsyncIterator[RemoteEngine]:
    """The face of an engine over a real API on loopback."""
    settings = load_settings(home=home)
    server = ApiServer(engine, settings, Address("127.0.0.1", 0), version="1")
    await server.start()
    link = Link(f"http://{server.address}", actor="ops@local")
    face = RemoteEngine(link, version="1", **options)
    try:
        await face.start()
        yield face
    finally:
        await face.stop()
        await server.stop()


class PlayedEngine(ScriptedEngine):
    """A script that answers actions as the engine does, with models ``good`` and ``huge``."""

    def __init__(self) -> None:
        good = gallery.model("good", 0.1, backend="simulated", simulated=True)
        huge = gallery.model("huge", 90_000, backend="simulated", simulated=True)
        super().__init__(snapshot_of(good, huge))
        self.explanations["huge"] = report(huge, MEMORY)
        self._steps: set[asyncio.Task[None]] = set()

    def _go(self, model_id: str, *states: Readiness, **last: Any) -> None:
        async def walk() -> None:
            for state in states:
                self.change(model_id, readiness=state, **(last if state is states[-1] else {}))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(walk())
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def load(
        self,
        model_id: str,
        options: LoadOptions | None = None,
        *,
        actor: str,
        expect: int | None = None,
        wait: bool = False,
    ) -> tuple[str, ...]:
        decision = self.explanations["huge"].decision
        if model_id == "huge" and decision is not None:
            self.refusals["load"] = decision
            self.change("huge", refusal=decision)
        try:
            await super().load(model_id, options, actor=actor, expect=expect, wait=wait)
        finally:
            self.refusals.clear()
        way = (Readiness.ADMITTED, Readiness.LOADING, Readiness.CANARY_PENDING, Readiness.ROUTABLE)
        self._go(model_id, *way, canary=gallery.canary(model_id, 9), context=4096)
        return (model_id,)

    async def unload(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        self._go(model_id, Readiness.UNLOADED, canary=None)
        return (model_id,)

    async def hold(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        self.set(quarantine=(gallery.case(model_id, held=True, reason=f"held by {actor}"),))
        self._go(model_id, Readiness.QUARANTINED)
        return (model_id,)

    async def release(self, model_id: str, *, actor: str, **_: Any) -> tuple[str, ...]:
        self.set(quarantine=())
        return await self.load(model_id, actor=actor)

    async def chat(self, model_id: str, turns: Any, options: Any = None, **about: Any) -> Any:
        stream = await super().chat(model_id, turns, options, client=about["client"])
        if turns[-1].content == "long":
            stream = ScriptedStream([*stream._items[:-1]], hold=True)
        return stream


Open = Callable[..., Any]


@asynccontextmanager
async def seen(kind: str, open_engine: Open, home: Path) -> AsyncIterator[EngineFace]:
    """A world with the models ``good`` and ``huge``, seen through a face of this kind."""
    async with AsyncExitStack() as stack:
        if kind == "scripted":
            yield PlayedEngine()
            return
        engine = await open_engine(memory_gb=8)
        if kind == "remote":
            yield await stack.enter_async_context(attached(engine, home))
        else:
            yield engine
