"""Figures that are read off the engine at each scrape rather than counted on the way."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.face import ApiFace
from engine.types import EngineSnapshot, ModelView, Readiness

PHASES = ("queued", "prefill", "decode")


class Gauges(Collector):
    """The engine's snapshot, for Prometheus.

    Args:
        most: Models with figures of their own; those that are loaded come first.
    """

    def __init__(self, engine: ApiFace, most: int) -> None:
        self._engine = engine
        self._most = most

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: a scrape asks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, as of now."""
        snapshot = self._engine.snapshot()
        resting = Readiness.UNLOADED
        ordered = sorted(snapshot.models, key=lambda model: model.readiness is resting)
        models = tuple(islice(ordered, self._most))
        yield from _engine(snapshot)
        yield from _standing(models)
        yield from _traffic(snapshot, models)
        yield from self._history(models)

    def _history(self, models: tuple[ModelView, ...]) -> Iterator[Metric]:
        runs = CounterMetricFamily(
            "lmx_canary_runs", "Canary runs by outcome.", labels=("model", "outcome")
        )
        seconds = CounterMetricFamily(
            "lmx_canary_seconds", "Time spent in canary runs.", labels=("model",)
        )
        restarts = CounterMetricFamily(
            "lmx_worker_restarts", "Workers started again after a death.", labels=("model",)
        )
        for model in models:
            done = self._engine.desk.performance(model.id)
            for outcome in ("pass", "fail"):
                runs.add_metric((model.id, outcome), done.canaries.get(outcome, 0))
            seconds.add_metric((model.id,), done.canary_seconds)
            restarts.add_metric((model.id,), done.restarts)
        yield from (runs, seconds, restarts)


def _engine(snapshot: EngineSnapshot) -> Iterator[Metric]:
    memory = GaugeMetricFamily("lmx_memory_bytes", "The memory budget.", labels=("kind",))
    for kind in ("budget", "reserved", "measured", "available"):
        memory.add_metric((kind,), getattr(snapshot.memory, kind))
    yield memory
    notices = "Lasting notices: what is wrong with the house itself."
    yield GaugeMetricFamily("lmx_notices", notices, len(snapshot.notices))
    rows = "Rows of the compatibility registry."
    yield GaugeMetricFamily("lmx_registry_rows", rows, snapshot.registry_total)


def _standing(models: tuple[ModelView, ...]) -> Iterator[Metric]:
    readiness = GaugeMetricFamily(
        "lmx_model_readiness",
        "Where a model stands: 1 for that state, 0 for every other.",
        labels=("model", "state"),
    )
    strikes = GaugeMetricFamily("lmx_model_strikes", "Strikes in the window.", labels=("model",))
    memory = GaugeMetricFamily(
        "lmx_model_memory_bytes", "What a model takes.", labels=("model", "kind")
    )
    for model in models:
        for state in Readiness:
            readiness.add_metric((model.id, state.value), float(model.readiness is state))
        strikes.add_metric((model.id,), model.strikes)
        if model.estimate is not None:
            memory.add_metric((model.id, "estimate"), model.estimate.total)
        if model.measured_bytes is not None:
            memory.add_metric((model.id, "measured"), model.measured_bytes)
    yield from (readiness, strikes, memory)


def _traffic(snapshot: EngineSnapshot, models: tuple[ModelView, ...]) -> Iterator[Metric]:
    flying = Counter((request.model_id, request.phase) for request in snapshot.requests)
    family = GaugeMetricFamily(
        "lmx_requests_in_flight", "Requests by what they wait for.", labels=("model", "phase")
    )
    for model in models:
        if model.readiness is Readiness.ROUTABLE or model.requests:
            for phase in PHASES:
                family.add_metric((model.id, phase), flying[model.id, phase])
    yield family
