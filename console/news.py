"""What the event line says: the answer to the operator's last key, or the engine's newest event."""

from dataclasses import dataclass

from engine import Decision, EngineSnapshot

HOLD_S = 6.0
"""So long an answer to a key press stays before newer events may replace it."""


@dataclass(frozen=True, slots=True)
class News:
    """One sentence for the event line. ``level`` is ``info``, ``warn`` or ``error``."""

    ts: float
    message: str
    level: str = "info"
    model_id: str = ""


def say_decision(decision: Decision) -> str:
    """A Decision as one sentence: what happened, and what to do about it."""
    parts = [decision.message]
    if decision.remedy:
        parts.append(decision.remedy)
    return "; ".join(part.rstrip(".") for part in parts if part)


def headline(snapshot: EngineSnapshot, news: News | None, now: float) -> News | None:
    """The later of the two, except that an answer is held for a moment against events."""
    event = snapshot.events[-1] if snapshot.events else None
    if event is None:
        return news
    if news is not None and (news.ts >= event.ts or now - news.ts < HOLD_S):
        return news
    return News(event.ts, event.message, event.level, event.model_id)
