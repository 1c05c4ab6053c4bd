"""What a model has done, in figures: a view like those in ``engine.types``."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PerformanceView:
    """What one model has done since this engine started, in figures."""

    model_id: str
    since: float
    """Since when this is counted: the engine's start."""
    requests: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """How requests ended: ``stop``, ``length``, ``cancelled``, or the code of a refusal."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    ttft_ms: Mapping[str, float] = field(default_factory=dict)
    """Time to first token of the latest requests: ``p50``, ``p95`` and ``max``."""
    tokens_per_second: Mapping[str, float] = field(default_factory=dict)
    """Decode speed of the latest requests: ``p50``, ``p95`` and ``max``."""
    restarts: int = 0
    canaries: Mapping[str, int] = field(default_factory=dict)
    """Canary runs by outcome, ``pass`` and ``fail``."""
    canary_seconds: float = 0.0
    """How long they took together."""
