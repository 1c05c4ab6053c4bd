"""How one request's next token is drawn under MLX.

mlx-lm's own sampler draws from one random state for all requests, so that a seed would mean
nothing once requests share a batch. Here every request has its own sequence of keys.
"""

import collections
import math
import random
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.backends import mlx_release
from engine.backends.constraint import Constraint
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


class Record:
    """Keeps the logits of one request as the model left them, until their token is told.

    The batch computes a step ahead, so there are two of them at times.
    """

    def __init__(self) -> None:
        self._rows: collections.deque[Any] = collections.deque()

    def __call__(self, _tokens: Any, logits: Any) -> Any:
        """Be the first of a request's processors, and change nothing."""
        import mlx.core as mx

        self._rows.append(logits[0].astype(mx.float32))
        return logits

    def take(self) -> npt.NDArray[np.float32]:
        """The logits of the next token to be told."""
        return np.array(self._rows.popleft())


def make_processors(
    sampling: Sampling,
    prompt_tokens: int,
    never: Collection[int] = (),
    constraint: Constraint | None = None,
) -> list[Processor]:
    """What changes the logits of one request before its token is drawn; none for a neutral one.

    The repeat penalty looks back over prompt and answer; presence and frequency count only the
    answer, as the OpenAI API has it.

    Args:
        prompt_tokens: Length of the prompt.
        never: Tokens that must not be drawn.
        constraint: What else decides what may be drawn; the last word is its own.
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
    if sampling.logit_bias:
        biased = mx.array(list(sampling.logit_bias))
        biases = mx.array(list(sampling.logit_bias.values()))

        def bias(_tokens: Any, logits: Any) -> Any:
            return logits.at[:, biased].add(biases.astype(logits.dtype))

        processors.append(bias)
    if sampling.repeat_penalty != 1:
        processors.append(make_repetition_penalty(sampling.repeat_penalty, REPEAT_WINDOW))
    for penalty, make in (
        (sampling.presence_penalty, make_presence_penalty),
        (sampling.frequency_penalty, make_frequency_penalty),
    ):
        if penalty:
            processors.append(_of_answer(make(penalty, _EVERYTHING), prompt_tokens))
    if constraint is not None:
        processors.append(_constrain(constraint, prompt_tokens))
    return processors


def _constrain(constraint: Constraint, prompt_tokens: int) -> Processor:
    import mlx.core as mx

    known = prompt_tokens

    def constrain(tokens: Any, logits: Any) -> Any:
        nonlocal known
        # This waits for the token drawn last, which otherwise nobody needs to know here yet.
        for token in tokens[known:].tolist():
            constraint.take(token)
            known += 1
        allowed = constraint.allowed(logits.shape[-1])
        return logits if allowed is None else mx.where(mx.array(allowed), logits, -math.inf)

    return constrain


def _of_answer(processor: Processor, prompt_tokens: int) -> Processor:
    def of_answer(tokens: Any, logits: Any) -> Any:
        return processor(tokens[prompt_tokens:], logits)

    return of_answer
