"""What each model has done since the engine started: the figures behind its performance page."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.face import ChatEnd
from engine.lives.figures import PerformanceView

LATEST = 500
"""Requests whose times are kept for the percentiles."""
_RANKS = {"p50": 0.5, "p95": 0.95, "max": 1.0}


@dataclass(slots=True)
class _Account:
    outcomes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    ttft_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))
    speeds: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))
    restarts: int = 0
    canaries: Counter[str] = field(default_factory=Counter)
    canary_seconds: float = 0.0


class Performance:
    """One account for each model of the catalog that ever ran.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._since = clock()
        self._accounts: dict[str, _Account] = {}

    def _of(self, model_id: str) -> _Account:
        return self._accounts.setdefault(model_id, _Account())

    def ended(self, model_id: str, end: ChatEnd) -> None:
        """A request has ended."""
        account = self._of(model_id)
        account.outcomes[end.decision.code.value if end.decision else end.reason] += 1
        account.prompt_tokens += end.prompt_tokens
        account.completion_tokens += end.completion_tokens
        account.cached_tokens += end.cached_tokens
        if end.ttft_ms is not None:
            account.ttft_ms.append(end.ttft_ms)
        if end.tokens_per_second is not None:
            account.speeds.append(end.tokens_per_second)

    def restarted(self, model_id: str) -> None:
        """Its worker died and is started again."""
        self._of(model_id).restarts += 1

    def proved(self, model_id: str, *, passed: bool, seconds: float) -> None:
        """A canary run has ended."""
        account = self._of(model_id)
        account.canaries["pass" if passed else "fail"] += 1
        account.canary_seconds += seconds

    def view(self, model_id: str) -> PerformanceView:
        """The figures of one model; all zero for one that never ran."""
        account = self._accounts.get(model_id) or _Account()
        return PerformanceView(
            model_id=model_id,
            since=self._since,
            requests=account.outcomes.total(),
            outcomes=dict(account.outcomes),
            prompt_tokens=account.prompt_tokens,
            completion_tokens=account.completion_tokens,
            cached_tokens=account.cached_tokens,
            ttft_ms=_percentiles(account.ttft_ms),
            tokens_per_second=_percentiles(account.speeds),
            restarts=account.restarts,
            canaries=dict(account.canaries),
            canary_seconds=round(account.canary_seconds, 3),
        )


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    """Nearest-rank percentiles; empty where nothing was measured."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {name: round(ordered[round(p * last)], 3) for name, p in _RANKS.items() if ordered}
