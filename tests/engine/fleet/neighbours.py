"""A cluster of hosts that are folders of this machine: they come and go at a test's word."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from engine import Engine, Settings, load_settings
from engine.examiner import Examiner
from engine.fleet.member import Audience, Member
from engine.fleet.quarters import OwnQuarters
from engine.machine import Place
from engine.memory import Memory
from engine.workers.capability import Capabilities
from engine.workers.process import LocalPlacement

BUDGET = 4_000_000_000
SOON_S = 30.0


class Neighbours:
    """Implements :class:`engine.fleet.member.Cluster`.

    Args:
        folders: Where each host's models are, by its name.
    """

    def __init__(self, settings: Settings, folders: Mapping[str, Path]) -> None:
        self._settings = settings
        self._folders = folders
        self.free = dict.fromkeys(folders, BUDGET)
        """What each has free, in bytes."""
        self.audience: Audience | None = None
        self.there = asyncio.Event()
        """All have joined."""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def watch(self, audience: Audience) -> None:
        self.audience = audience
        for name in self._folders:
            await audience.joined(self._member(name))
        self.there.set()

    def _member(self, name: str) -> Member:
        folder = self._folders[name]
        folder.mkdir(parents=True, exist_ok=True)
        settings = self._settings.model_copy(update={"folders": (folder,)})
        examiner = Examiner(settings, Capabilities(folder), ())
        examiner.find_runtimes()
        return Member(
            place=Place(name, away=True),
            address="127.0.0.1",
            devices=("Linux x86_64", "A100"),
            quarters=OwnQuarters(settings, examiner, folder),
            placement=LocalPlacement(),
            budget=BUDGET,
            memory=lambda: Memory(BUDGET, self.free[name]),
        )


@asynccontextmanager
async def neighbourhood(root: Path, *names: str) -> AsyncIterator[tuple[Engine, Neighbours]]:
    """An engine on a home of its own and hosts of these names, all of them there."""
    (root / "own").mkdir(parents=True, exist_ok=True)
    settings = load_settings(
        home=root / "home",
        folders=(root / "own",),
        hf_cache=root / "none",
        lmstudio=root / "none",
        starter=False,
        spare=False,
        memory_gb=2,
    )
    around = Neighbours(settings, {name: root / name for name in names})
    engine = Engine(settings, cluster=around, machine=lambda: Memory(8 * BUDGET, 4 * BUDGET))
    await engine.start()
    try:
        async with asyncio.timeout(SOON_S):
            await around.there.wait()
        yield engine, around
    finally:
        await engine.stop()
