"""Hosts on paper: told of by a test instead of by a cluster. Their models lie in folders of this
machine, their gate is the real one, their workers are puppets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, EngineError, ModelView, Readiness, load_settings
from engine.admission.signatures import load_signatures
from engine.catalog.entry import CatalogEntry
from engine.examiner import Examiner
from engine.fleet.member import Audience, Member
from engine.fleet.quarters import OwnQuarters
from engine.lives.host_loss import host_gone
from engine.machine import Place
from engine.memory import Memory
from engine.workers.capability import Capabilities
from tests.engine.private import private
from tests.engine.puppet import PuppetPlacement
from tests.forge import write_simulated

ACTOR = "operator@test"
GB = 1_000_000_000
SOON_S = 30.0


class PaperQuarters(OwnQuarters):
    """A host's files, as long as the host is there."""

    here = True

    async def fingerprint(self, entry: CatalogEntry) -> str:
        if not self.here:
            raise EngineError(host_gone("on paper", "its node is gone"))
        return await super().fingerprint(entry)


class PaperCluster:
    """Implements :class:`engine.fleet.member.Cluster`.

    Args:
        root: Every host's models are in a folder of its name; the engine's own is ``own``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.placement = PuppetPlacement()
        self.quarters: dict[str, PaperQuarters] = {}
        self.free: dict[str, int] = {}
        """Bytes a host has free, where that is not twice its budget."""
        self.settings = private(
            root,
            models="own",
            memory_gb=4,
            quarantining={"backoff_s": (0.01, 0.01, 0.01)},
        )
        self._audience: asyncio.Future[Audience] = asyncio.get_running_loop().create_future()

    def put(self, host: str, name: str, **script: Any) -> None:
        """Put a model on a host's disk."""
        write_simulated(self.root / host / name, **({"weights_gb": 1} | script))

    # -- engine.fleet.member.Cluster ------------------------------------------------------------

    async def open(self) -> None:
        pass

    async def watch(self, audience: Audience) -> None:
        self._audience.set_result(audience)
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass

    # -- what a test says of hosts --------------------------------------------------------------

    async def join(self, *names: str, kind: str = "", memory_gb: float = 4) -> None:
        """Hosts join, one after another."""
        for name in names:
            await (await self._audience).joined(self.member(name, kind, int(memory_gb * GB)))

    def member(self, name: str, kind: str, budget: int) -> Member:
        settings = self.settings.model_copy(update={"folders": (self.root / name,)})
        signatures, _ = load_signatures(settings.signatures)
        examiner = Examiner(settings, Capabilities(settings.home), signatures)
        examiner.find_runtimes()
        self.quarters[name] = PaperQuarters(settings, examiner, self.root)
        return Member(
            place=Place(name, kind, away=True),
            address="127.0.0.1",
            devices=("paper",),
            quarters=self.quarters[name],
            placement=self.placement,
            budget=budget,
            memory=lambda: Memory(2 * budget, self.free.get(name, 2 * budget)),
        )

    async def miss(self, name: str, heard_at: float) -> None:
        """Nothing is heard of a host since then."""
        (await self._audience).stale(name, heard_at)

    async def hear(self, name: str) -> None:
        """It is heard again."""
        (await self._audience).heard(name)

    async def lose(self, name: str) -> None:
        """A host is gone."""
        self.quarters[name].here = False
        (await self._audience).lost(name, "its node is gone")

    @asynccontextmanager
    async def engine(self, **values: Any) -> AsyncIterator[Engine]:
        """An engine whose hosts are on paper."""
        told = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        self.settings = load_settings(**(told | values))
        engine = Engine(
            self.settings,
            placement=self.placement,
            cluster=self,
            machine=lambda: Memory(8 * GB, 8 * GB),
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def furnished(root: Path) -> PaperCluster:
    """``many`` on all three hosts, ``away`` on the two others, ``unlike`` there in two sizes."""
    cluster = PaperCluster(root)
    for host in ("own", "b", "c"):
        cluster.put(host, "many")
    for host in ("b", "c"):
        cluster.put(host, "away")
    cluster.put("b", "unlike", weights_gb=2)
    cluster.put("c", "unlike", weights_gb=1)
    return cluster


def view(engine: Engine, model_id: str) -> ModelView:
    found = engine.snapshot().model(model_id)
    assert found is not None, [model.id for model in engine.snapshot().models]
    return found


def where(engine: Engine, readiness: Readiness) -> list[str]:
    """The models that stand there."""
    return [model.id for model in engine.snapshot().models if model.readiness is readiness]


async def until(engine: Engine, true: Callable[[], bool]) -> None:
    """Wait for what the engine does by itself."""
    try:
        async with asyncio.timeout(SOON_S):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    except TimeoutError:
        models = [(m.id, m.readiness.value, m.reason) for m in engine.snapshot().models]
        pytest.fail(f"{models}\n{[(e.kind, e.message) for e in engine.events()[-15:]]}")
