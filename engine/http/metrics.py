"""Figures for Prometheus: counted where requests end, and read off the engine at each scrape."""

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from engine.face import ApiFace, ChatEnd
from engine.http.gauges import Gauges

MODELS_NAMED = 200
"""Models with figures of their own; the rest share ``other``. A client may ask for any name, and
every label value stays in memory for good."""
UNKNOWN_MODEL = "other"
_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""From an idle small model to a prompt of a hundred thousand tokens."""
_BETWEEN_TOKENS_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """What ``/metrics`` shows. Handlers tell it of every request's end."""

    def __init__(self, engine: ApiFace) -> None:
        self._engine = engine
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(Gauges(engine, MODELS_NAMED))
        self._named: set[str] = set()
        self._requests = Counter(
            "lmx_requests",
            "Requests that ended, by how: ok, cancelled, or the code of the refusal.",
            ("model", "code"),
            registry=self.registry,
        )
        self._tokens = Counter(
            "lmx_tokens",
            "Tokens of requests that ended.",
            ("model", "kind"),
            registry=self.registry,
        )
        self._first = Histogram(
            "lmx_time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            ("model",),
            buckets=_FIRST_TOKEN_S,
            registry=self.registry,
        )
        self._between = Histogram(
            "lmx_inter_token_seconds",
            "Between two deliveries of tokens of one answer.",
            ("model",),
            buckets=_BETWEEN_TOKENS_S,
            registry=self.registry,
        )

    def request_ended(self, model: str, code: str, end: ChatEnd | None = None) -> None:
        """A request has ended.

        Args:
            model: The id of the catalog; whatever else a client named becomes ``other``.
            code: ``ok``, ``cancelled``, or the code of the Decision it was refused with.
            end: The end of its answer, if it was answered at all.
        """
        name = self._label(model)
        self._requests.labels(name, code).inc()
        if end is None:
            return
        self._tokens.labels(name, "prompt").inc(end.prompt_tokens)
        self._tokens.labels(name, "completion").inc(end.completion_tokens)
        self._tokens.labels(name, "cached").inc(end.cached_tokens)
        if end.ttft_ms is not None:
            self._first.labels(name).observe(end.ttft_ms / 1000)

    def tokens_came(self, model: str, gap_s: float) -> None:
        """Tokens were delivered ``gap_s`` seconds after the ones before them."""
        self._between.labels(self._label(model)).observe(gap_s)

    def page(self) -> bytes:
        """The text Prometheus scrapes."""
        return generate_latest(self.registry)

    def _label(self, model: str) -> str:
        if model not in self._named:
            # The snapshot last: it is made anew for whoever asks while tokens come.
            full = len(self._named) >= MODELS_NAMED
            if full or self._engine.snapshot().model(model) is None:
                return UNKNOWN_MODEL
            self._named.add(model)
        return model
