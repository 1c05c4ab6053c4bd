"""The chances a model gave its tokens, from the logits as they left it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.workers.protocol import Chance, TokenChance

_NEVER = -9999.0
"""Told for a probability of nothing, as the OpenAI API does: JSON knows no infinity."""


def chance(
    logits: npt.NDArray[np.float32], token: int, top: int, spell: Callable[[int], bytes]
) -> TokenChance:
    """The natural logarithms of probability of a token and of the likeliest at its place.

    Args:
        logits: One position's, of the whole vocabulary, before anything changed them.
        token: The one that was drawn.
        top: How many of the likeliest to tell.
        spell: The bytes of a token.
    """
    with np.errstate(invalid="ignore"):  # broken logits have no sum, and all their chances are none
        highest = logits.max()
        total = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))

    def told(index: int) -> tuple[bytes, float]:
        value = float(logits[index]) - total
        return spell(index), max(_NEVER, value)

    likeliest: list[Chance] = []
    if top:
        found = np.argpartition(logits, -top)[-top:]
        for index in found[np.argsort(-logits[found], kind="stable")]:
            data, value = told(int(index))
            text = data.decode("utf-8", "replace")
            likeliest.append(Chance(text=text, bytes=tuple(data), logprob=value))
    data, value = told(token)
    text = data.decode("utf-8", "replace")
    return TokenChance(text=text, bytes=tuple(data), logprob=value, top=tuple(likeliest))
