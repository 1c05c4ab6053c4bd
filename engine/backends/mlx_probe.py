"""The canary's questions to a model under MLX, asked with a cache of their own."""

import math
from typing import Any

from engine.backends import hollow
from engine.backends.mlx_model import LoadedModel
from engine.backends.score import Evaluation

_CHUNK = 32
"""Positions whose logits are held at once: 32 rows of a vocabulary of 256,000 are 32 MB."""
_MOST_TOKENS = 512
"""A longer passage is cut: it says no more and a CPU reads some eight tokens a second."""


def evaluate(loaded: LoadedModel, text: str, *, context: int) -> Evaluation:
    """Run a passage through the model and look at the logits of every position."""
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache

    tokens = loaded.encode(text, special=True)[: min(_MOST_TOKENS, context)]
    cache = make_prompt_cache(loaded.model)
    broken, surprise = 0, 0.0
    lowest, highest, spread = math.inf, -math.inf, math.inf
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK]
        logits = loaded.model(mx.array([chunk]), cache=cache)[0].astype(mx.float32)
        finite = mx.isfinite(logits)
        targets = tokens[start + 1 : start + 1 + len(chunk)]
        low, high = mx.min(logits, axis=-1), mx.max(logits, axis=-1)
        found = [mx.sum(~finite), mx.min(low), mx.max(high), mx.min(high - low)]
        if targets:
            rows = logits[: len(targets)]
            chosen = mx.take_along_axis(rows, mx.array(targets)[:, None], axis=-1)[:, 0]
            found.append(mx.sum(mx.logsumexp(rows, axis=-1) - chosen))
        mx.eval(found)
        figures: list[Any] = [value.item() for value in found]
        broken += int(figures[0])
        lowest, highest = min(lowest, figures[1]), max(highest, figures[2])
        spread = min(spread, figures[3])
        surprise += figures[4] if targets else 0.0
    scored = len(tokens) - 1
    # exp(700) is near the largest number there is, and far beyond any bound.
    known = scored > 0 and not broken and math.isfinite(surprise)
    perplexity = math.exp(min(surprise / scored, 700.0)) if known else None
    return Evaluation(text, len(tokens), broken, lowest, highest, spread, perplexity)


def round_trip(loaded: LoadedModel, text: str) -> tuple[str, int]:
    """Turn a text into tokens and back.

    Returns:
        What differs, or empty, and the number of tokens.
    """
    tokens = loaded.encode(text, special=False)
    back = loaded.decode(tokens)
    # Some tokenizers put a space before the first word; that is how they were trained.
    if back.lstrip(" ") == text.lstrip(" "):
        return "", len(tokens)
    return f"{text[:60]!r} came back as {back[:60]!r}", len(tokens)


def holes(loaded: LoadedModel) -> hollow.Hollow:
    """Look for matrices of zeros: a row or two of each, and only one that looks empty whole."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    named = [(n, a) for n, a in tree_flatten(loaded.model.parameters()) if a.ndim > 1 and a.size]
    samples = [mx.any(array[:: max(array.shape[0] // 4, 1)] != 0) for _, array in named]
    mx.eval(samples)
    return hollow.judge(
        (name, not sample.item() and not mx.any(array != 0).item())
        for (name, array), sample in zip(named, samples, strict=True)
    )
