"""What the way over Ray costs a token, beside a worker of the engine's own host.

Run with ``python -m tests.benchmarks.relay``. A real Ray cluster of two nodes on this machine; one
simulated script is loaded on either side, and both are asked in turn. Prints tokens per second of
both, the ratio of the rates, and the processor time per token of the engine's process, and of the
agent's. Without Ray it says so and measures nothing.

What the relay costs is calls, not tokens: of one slow stream each token is a call of its own, of
many streams whatever has been said meanwhile comes in one. Bars: at a pace a client reads at no
time is lost to the relay, and flat out half the rate is still there; a token of several streams
costs the engine's process no more than a local one's bar (``overhead``), and one stream no more of
a core than there.
"""

import asyncio
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from engine import Engine
from tests.benchmarks.cpu import cpu_s
from tests.benchmarks.overhead import BAR_US, SHARE, through_engine
from tests.benchmarks.report import Report, at_least, at_most
from tests.engine.private import private
from tests.forge import write_simulated

TAKES_S = 75
ROUNDS = 5
HERE, THERE = "here", "there"
SCRIPT = {"load_seconds": 0, "context": 65536, "weights_gb": 0.1}
KINDS = ((1, 50, 150), (8, 50, 150), (32, 50, 100), (8, 2000, 1000))
"""Streams, tokens a second of each, and how many each of them has."""
FLAT_OUT = 1000
PACED, AT_ALL = 0.95, 0.5
"""Bars on ratios, the relay's over the local worker's: rate at a pace, rate flat out."""
JOIN_S = 60.0


def write_models(place: Path) -> None:
    """The same scripts under one name on the own host, under another on the node's."""
    for host, name in (("own", HERE), ("node", THERE)):
        for _, pace, _ in KINDS:
            script = SCRIPT | {"tokens_per_second": pace}
            write_simulated(place / host / f"{name}-{pace}", **script)


async def joined(engine: Engine) -> None:
    """Wait until the node's models are listed."""
    async with asyncio.timeout(JOIN_S):
        while not any(event.kind == "host_joined" for event in engine.events()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def agent_of(engine: Engine, model_id: str) -> int:
    """The process that started a model's worker on the node."""
    view = engine.snapshot().model(model_id)
    if view is None or view.pid is None:
        raise SystemExit(f"{model_id} has no worker")
    return psutil.Process(view.pid).ppid()


async def measure(report: Report, engine: Engine) -> None:
    """Both sides, in turn."""
    for streams, pace, tokens in KINDS:
        here, there = f"{HERE}-{pace}", f"{THERE}-{pace}@node"
        for name in (here, there):
            await engine.load(name, actor="benchmark@local", wait=True)
        agent = agent_of(engine, there)
        rates: tuple[list[float], list[float]] = ([], [])
        costs: tuple[list[float], list[float]] = ([], [])
        relays = []
        for turn in range(ROUNDS + 1):
            for side, name in enumerate((here, there)):
                before = cpu_s(agent)
                rate, cost = await through_engine(engine, streams, name, tokens)
                if turn == 0:
                    continue  # warm
                rates[side].append(rate)
                costs[side].append(cost * 1e6)
                if side:
                    relays.append((cpu_s(agent) - before) / (streams * tokens) * 1e6)
        flat = pace >= FLAT_OUT
        what = ("1 stream" if streams == 1 else f"{streams} streams") + (
            " flat out" if flat else f" at {pace} tok/s each"
        )
        least = at_least(AT_ALL if flat else PACED)
        report.tell(f"{what}, relayed", rates[1], "tok/s", rates[0], "local", bar=least)
        told = f"{what}: the engine's processor time for a token"
        report.tell(told, costs[1], "µs", costs[0], "local")
        if streams > 1:
            report.tell(f"{told}, relayed", costs[1], "µs", bar=at_most(BAR_US))
        else:
            shares = [cost * rate / 1e4 for cost, rate in zip(costs[1], rates[1], strict=True)]
            told = f"{what}, relayed: the engine's share"
            report.tell(told, shares, "% of a core", bar=at_most(SHARE))
        report.tell(f"{what}: the agent's processor time for a token", relays, "µs")
        for name in (here, there):
            await engine.unload(name, actor="benchmark@local")


async def run(report: Report, place: Path, address: str) -> None:
    """An engine over the cluster."""
    from engine.cluster.ray_cluster import RayCluster

    settings = private(
        place,
        models="own",
        slots=max(streams for streams, _, _ in KINDS),
        hosts={"node": {"folders": (place / "node",)}},
    )
    engine = Engine(settings, cluster=RayCluster(address, settings))
    await engine.start()
    try:
        await joined(engine)
        await measure(report, engine)
    finally:
        await engine.stop()


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    if importlib.util.find_spec("ray") is None:
        print("Ray is not installed (the extra `cluster`); there is no relay to measure")
        return 0
    os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
    import ray
    from ray.cluster_utils import Cluster

    report = Report()
    with tempfile.TemporaryDirectory(prefix="lmx-relay-") as name:
        place = Path(name)
        os.environ["LMX_HOME"] = str(place / "agents")
        write_models(place)
        head = {"num_cpus": 0, "node_name": "head", "include_dashboard": False}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(num_cpus=1, node_name="node")
            asyncio.run(run(report, place, cluster.address))
        finally:
            ray.shutdown()
            cluster.shutdown()
    return report.status


if __name__ == "__main__":
    sys.exit(main())
