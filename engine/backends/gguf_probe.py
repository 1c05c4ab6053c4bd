"""The canary's questions to a GGUF model, asked on a sequence of their own."""

import math

import numpy as np

from engine.backends.gguf_native import OUTPUTS, PROBE_CELLS, NativeModel, Row
from engine.backends.score import Evaluation


def evaluate(model: NativeModel, text: str) -> Evaluation:
    """Run a passage through the model and look at the logits of every position.

    Only the first ``PROBE_CELLS`` tokens count: a longer passage has no room of its own.

    Raises:
        RuntimeError: llama.cpp failed, or had no room even for this.
    """
    tokens = model.tokens(text, special=True)[: min(PROBE_CELLS, model.context)]
    sequence = model.sequences
    broken, surprise, scored = 0, 0.0, 0
    lowest, highest, spread = math.inf, -math.inf, math.inf
    model.forget(sequence)
    try:
        for start in range(0, len(tokens), OUTPUTS):
            chunk = tokens[start : start + OUTPUTS]
            rows = [Row(token, start + i, sequence, True) for i, token in enumerate(chunk)]
            if not model.decode(rows):
                raise RuntimeError("no room in the cache for the canary's passage")
            for i in range(len(chunk)):
                logits = model.logits(i)
                finite = np.isfinite(logits)
                broken += int(finite.size - np.count_nonzero(finite))
                if not finite.all():
                    continue
                top, bottom = float(logits.max()), float(logits.min())
                lowest, highest = min(lowest, bottom), max(highest, top)
                spread = min(spread, top - bottom)
                if start + i + 1 < len(tokens):
                    total = float(np.exp(logits - top, dtype=np.float64).sum())
                    surprise += top + math.log(total) - float(logits[tokens[start + i + 1]])
                    scored += 1
    finally:
        model.forget(sequence)
    # exp(700) is near the largest number there is, and far beyond any bound.
    known = scored and not broken
    perplexity = math.exp(min(surprise / scored, 700.0)) if known else None
    return Evaluation(text, len(tokens), broken, lowest, highest, spread, perplexity)
