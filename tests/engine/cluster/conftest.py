"""A real Ray cluster on this machine: the engine's own node and two more, each with models."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, ModelView, load_settings

MODEL = {"kind": "simulated", "weights_gb": 1, "tokens_per_second": 200, "say": ["It", " works"]}
SOON_S = 60.0
SOON_DEAD = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}
"""Ray calls a node dead that five times in a row could not be reached: by its own measure a quarter
of a minute. One that is only slow has ten seconds for each answer all the same."""


class Rack:
    """Nodes that come and go, and the engine's settings for them."""

    def __init__(self, root: Path) -> None:
        from ray.cluster_utils import Cluster

        self.root = root
        self.cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "node_name": "head",
                "include_dashboard": False,
                "_system_config": SOON_DEAD,
            },
        )
        self.nodes: dict[str, Any] = {}

    def add(self, name: str) -> None:
        self.nodes[name] = self.cluster.add_node(num_cpus=1, node_name=name)

    def remove(self, name: str) -> None:
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)

    def put(self, host: str, name: str, **script: Any) -> None:
        folder = self.root / host / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "simulated.json").write_text(json.dumps(MODEL | script))

    def hosts(self, **memory_gb: float) -> dict[str, Any]:
        """The settings of these nodes, each with so much to give away."""
        return {
            name: {"folders": (self.root / name,), "memory_gb": size, "ring": "127.0.0.1"}
            for name, size in memory_gb.items()
        }

    @asynccontextmanager
    async def engine(self, **values: Any) -> AsyncIterator[Engine]:
        from engine.cluster.ray_cluster import RayCluster

        none = self.root / "none"
        none.mkdir(exist_ok=True)
        home = self.root / f"home-{os.urandom(4).hex()}"
        settings = load_settings(
            **{
                "home": home,
                "folders": (self.root / "own",),
                "hf_cache": none,
                "lmstudio": none,
                "starter": False,
                "spare": False,
                "memory_gb": 2,
                "hosts": self.hosts(b=4.0, c=3.0),
                "quarantining": {"backoff_s": (0.05, 0.05, 0.05)},
            }
            | values
        )
        engine = Engine(settings, cluster=RayCluster(self.cluster.address, settings))
        await engine.start()
        try:
            await until(engine, lambda: states(engine) == dict.fromkeys((*self.nodes,), "ok"))
            # A host is there before its models are listed; that they are is an event.
            await until(engine, lambda: listed(engine) == set(self.nodes))
            yield engine
        finally:
            await engine.stop()


def listed(engine: Engine) -> set[str]:
    """The hosts whose models have joined the list."""
    joined = [event.message for event in engine.events() if event.kind == "host_joined"]
    return {message.partition(" has joined ")[0] for message in joined}


def states(engine: Engine) -> dict[str, str]:
    """How every host but the own one is."""
    return {host.name: host.state.value for host in engine.snapshot().hosts if not host.own}


def view(engine: Engine, model_id: str) -> ModelView:
    found = engine.snapshot().model(model_id)
    assert found is not None
    return found


async def until(engine: Engine, true: Callable[[], bool]) -> None:
    """Wait for it; the news of another process comes when it comes."""
    try:
        async with asyncio.timeout(SOON_S):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        snapshot = engine.snapshot()
        models = [(m.id, m.host, m.readiness.value, m.reason) for m in snapshot.models]
        last = [(e.kind, e.message) for e in snapshot.events[-15:]]
        pytest.fail(f"{states(engine)}\n{models}\n{last}\n{snapshot.notices}")


@pytest.fixture(scope="session")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # read when Ray is imported
    ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")
    root = tmp_path_factory.mktemp("rack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMX_HOME", str(root / "agents"))
        made = Rack(root)
        made.add("b")
        made.add("c")
        yield made
        ray.shutdown()
        made.cluster.shutdown()
