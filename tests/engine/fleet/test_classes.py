"""Verdicts are about a class of hosts, strikes and quarantine about one host."""

from pathlib import Path

import pytest

from engine import Code, EngineError, LoadOptions, Readiness
from tests.engine.fleet.paper import ACTOR, PaperCluster, view

ONE, ANOTHER = "one kind of GPU", "another kind of GPU"


async def test_a_failure_on_one_class_of_hosts_blocks_that_class_and_no_other(
    tmp_path: Path,
) -> None:
    cluster = PaperCluster(tmp_path)
    for host in ("own", "b", "c", "d", "e"):
        cluster.put(host, "model")
    async with cluster.engine() as engine:
        await cluster.join("b", "d", kind=ONE)
        await cluster.join("c", kind=ANOTHER)
        await cluster.join("e")
        cluster.placement.sick = True
        with pytest.raises(EngineError) as failed:
            await engine.load("model@b", actor=ACTOR, wait=True)
        assert failed.value.decision.code is Code.MODEL_CANARY_FAILED
        cluster.placement.sick = False
        assert view(engine, "model@b").readiness is Readiness.QUARANTINED
        # The same class: refuted, though nothing ever failed on this host.
        assert view(engine, "model@d").readiness is Readiness.UNLOADED
        with pytest.raises(EngineError) as refused:
            await engine.load("model@d", actor=ACTOR)
        decision = refused.value.decision
        assert (decision.code, decision.check) == (Code.MODEL_UNSUPPORTED_BACKEND, "registry")
        # Every other class: neither quarantine nor registry has a word to say.
        await engine.load("model", LoadOptions(replicas=3), actor=ACTOR, wait=True)
        for name in ("model", "model@c", "model@e"):
            assert view(engine, name).readiness is Readiness.ROUTABLE
            assert view(engine, name).strikes == 0
        rows = {row.model_id: row for row in engine.snapshot().registry}
        assert rows["model@b"].metadata["host_class"] == ONE
        assert (rows["model@e"].outcome, rows["model"].outcome) == ("pass", "pass")


async def test_what_the_own_host_refutes_is_refuted_on_its_like_and_on_no_other(
    tmp_path: Path,
) -> None:
    cluster = PaperCluster(tmp_path)
    for host in ("own", "b", "c"):
        cluster.put(host, "model")
    async with cluster.engine() as engine:
        await cluster.join("b")
        await cluster.join("c", kind=ANOTHER)
        cluster.placement.sick = True
        row = view(engine, "model")
        with pytest.raises(EngineError):
            await engine.load("model", actor=ACTOR, expect=row.version, wait=True)
        cluster.placement.sick = False
        with pytest.raises(EngineError) as refused:
            await engine.load("model@b", actor=ACTOR)
        assert refused.value.decision.check == "registry"
        assert await engine.load("model", actor=ACTOR, wait=True) == ("model@c",)
