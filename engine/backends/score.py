"""What a model made of the canary's passage and what that says of it, for every backend."""

import math
from dataclasses import dataclass

from engine.backends.hollow import Hollow
from engine.workers.protocol import Probe, Probed

_CONSTANT = 1e-6
"""A spread of logits below this means every token is as likely as any other."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model made of a passage: the figures of every logit, and how surprised it was."""

    text: str
    tokens: int
    broken: int
    """Logits that are NaN or infinite."""
    lowest: float
    highest: float
    spread: float
    """The smallest difference between the highest and the lowest logit of one position."""
    perplexity: float | None
    """None where broken logits leave none, or the passage is one token long."""

    @property
    def trouble(self) -> str:
        """What is wrong with the logits, or empty."""
        if self.broken:
            return f"{self.broken:,} logits are NaN or infinite"
        if self.spread < _CONSTANT:
            return f"the logits are constant ({self.highest:g})"
        return ""

    @property
    def values(self) -> dict[str, float]:
        """The figures by name. JSON has no NaN, so only those that are numbers."""
        figures = {
            "tokens": float(self.tokens),
            "nonfinite": float(self.broken),
            "min": self.lowest,
            "max": self.highest,
            "spread": self.spread,
        }
        if self.perplexity is not None:
            figures["perplexity"] = self.perplexity
        return {name: value for name, value in figures.items() if math.isfinite(value)}


def score(question: Probe, seen: Evaluation, hollow: Hollow) -> Probed:
    """Answer the questions ``logits`` and ``perplexity``.

    ``detail`` says what is wrong, or with ``ok`` what is odd about the weights; then ``hollow``
    among the values counts the matrices that hold only zeros.
    """
    values = dict(seen.values)
    trouble, note = seen.trouble, ""
    if question.name == "logits":
        trouble = trouble or hollow.trouble
        note = hollow.note
        values["hollow"] = float(len(hollow.matrices))
    elif not trouble and seen.perplexity is None:
        trouble = "the passage is too short to be scored"
    return Probed(
        id=question.id,
        name=question.name,
        ok=not trouble,
        detail=trouble or note,
        values=values,
    )
