"""What the event line says: the answer to the operator's last key, or the engine's newest event."""

from dataclasses import dataclass

from console.commands import DASHBOARD
from engine import Decision, EngineSnapshot

ANSWER_S = 5.0
"""So long an answer to a key press stays, unless the engine has news before."""


@dataclass(frozen=True, slots=True)
class News:
    """One sentence for the event line. ``level`` is ``info``, ``warn`` or ``error``; ``where`` is
    the screen it was said on, and the only one that shows it."""

    ts: float
    message: str
    level: str = "info"
    model_id: str = ""
    where: str = DASHBOARD
    actor: str = ""
    """Who did it, where that was somebody at another console or through the API."""


def say_decision(decision: Decision) -> str:
    """A Decision as one sentence: its code, what happened, and what to do about it."""
    parts = [f"{decision.code}: {decision.message}"]
    if decision.remedy:
        parts.append(decision.remedy)
    return "; ".join(part.rstrip(".") for part in parts if part)


def answer_on(news: News | None, where: str, now: float) -> News | None:
    """The answer a screen still has to show, or None."""
    if news is None or news.where != where or now - news.ts >= ANSWER_S:
        return None
    return news


def headline(
    snapshot: EngineSnapshot, news: News | None, now: float, *, me: str = ""
) -> News | None:
    """What the dashboard says: an answer gives way to the next event, and fades by itself.

    Args:
        me: Who looks, as the log names them: what others did is told with their names.
    """
    event = snapshot.events[-1] if snapshot.events else None
    if event is None:
        return news if news is not None and news.where == DASHBOARD else None
    answer = answer_on(news, DASHBOARD, now)
    if answer is not None and answer.ts >= event.ts:
        return answer
    own = event.actor.startswith(me) if me.endswith(":") else event.actor == me
    actor = event.actor if "@" in event.actor and me and not own else ""
    return News(event.ts, event.message, event.level, event.model_id, actor=actor)
