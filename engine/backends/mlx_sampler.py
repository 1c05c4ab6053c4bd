"""How one request's next token is drawn under MLX.

mlx-lm's own sampler draws from one random state for all requests, so that a seed would mean
nothing once requests share a batch. Here every request has its own sequence of keys.
"""

import math
import random
from collections.abc import Callable, Collection
from typing import Any

from engine.backends import mlx_release
from engine.workers.protocol import Sampling

REPEAT_WINDOW = 64
"""Tokens the repeat penalty looks back on; llama.cpp's own default."""
_EVERYTHING = 1 << 30
"""A window no answer outgrows."""
Processor = Callable[[Any, Any], Any]
"""From the tokens so far and the logits ``[1, vocabulary]`` to new logits."""
Sampler = Callable[[Any], Any]
"""From log-probabilities ``[1, vocabulary]`` to a token ``[1]``."""


def make_sampler(sampling: Sampling, vocabulary: int) -> Sampler:
    """The sampler of one request: top-k, top-p, min-p, then temperature, as llama.cpp orders them.

    The same seed draws the same keys; without one they come from the system. Greedy requests all
    share one function, which lets the batch draw their tokens in one call.
    """
    import mlx.core as mx
    from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

    if sampling.temperature == 0:
        return mlx_release.greedy_sampler()
    # No secrets are drawn here, and a seed must repeat.
    draws = random.Random(sampling.seed)  # noqa: S311

    def sample(logprobs: Any) -> Any:
        logprobs = logprobs.astype(mx.float32)
        if 0 < sampling.top_k < vocabulary:
            logprobs = apply_top_k(logprobs, sampling.top_k)
        if sampling.top_p < 1:
            logprobs = apply_top_p(logprobs, sampling.top_p)
        if sampling.min_p > 0:
            logprobs = apply_min_p(logprobs, sampling.min_p)
        key = mx.random.key(draws.getrandbits(63))
        return mx.random.categorical(logprobs * (1 / sampling.temperature), key=key)

    return sample


def make_processors(
    sampling: Sampling, prompt_tokens: int, never: Collection[int] = ()
) -> list[Processor]:
    """What changes the logits of one request before its token is drawn; none for a neutral one.

    The repeat penalty looks back over prompt and answer; presence and frequency count only the
    answer, as the OpenAI API has it.

    Args:
        prompt_tokens: Length of the prompt.
        never: Tokens that must not be drawn.
    """
    import mlx.core as mx
    from mlx_lm.sample_utils import (
        make_frequency_penalty,
        make_presence_penalty,
        make_repetition_penalty,
    )

    processors: list[Processor] = []
    if never:
        banned = mx.array(sorted(never))

        def ban(_tokens: Any, logits: Any) -> Any:
            logits[:, banned] = -math.inf
            return logits

        processors.append(ban)
    if sampling.repeat_penalty != 1:
        processors.append(make_repetition_penalty(sampling.repeat_penalty, REPEAT_WINDOW))
    for penalty, make in (
        (sampling.presence_penalty, make_presence_penalty),
        (sampling.frequency_penalty, make_frequency_penalty),
    ):
        if penalty:
            processors.append(_of_answer(make(penalty, _EVERYTHING), prompt_tokens))
    return processors


def _of_answer(processor: Processor, prompt_tokens: int) -> Processor:
    def of_answer(tokens: Any, logits: Any) -> Any:
        return processor(tokens[prompt_tokens:], logits)

    return of_answer
