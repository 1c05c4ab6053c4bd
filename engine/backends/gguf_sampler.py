"""How one request draws its tokens: a chain of llama.cpp samplers with its own random state."""

import secrets
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as native

from engine.workers.protocol import Sampling

_REPEAT_WINDOW = 64
"""Tokens the repeat penalty looks back on; llama.cpp's own default."""
_NATIVE_RANDOM = 0xFFFFFFFF
"""The one seed llama.cpp takes as "choose yourself"."""


class Sampler:
    """One request's chain, in llama.cpp's usual order: bias, penalties, top-k, top-p, min-p,
    temperature, draw. At temperature 0 it is penalties and the likeliest token.

    The random state is the request's own, so a seed gives the same draws from the same logits.
    The logits differ in their last bits with the batch's shape and the order of a sequence's cells
    in the cache, so a long seeded text may part ways where other requests came and went; alone on
    an empty cache it is the same every time.

    Args:
        prompt: The prompt's tokens, which the repeat penalty counts too. Presence and frequency
            penalties count only what was generated, as the OpenAI API has it.
        never: Tokens that must not be drawn.
        vocabulary: Size of the vocabulary.
        context: Most tokens the sequence may hold.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        prompt: Sequence[int],
        never: Sequence[int],
        vocabulary: int,
        context: int,
    ) -> None:
        self.plain = False
        """Whether it draws the likeliest token of the logits as they stand: then whoever has them
        need not ask, which spares a copy of the vocabulary for every token."""
        parameters = native.llama_sampler_chain_default_params()
        self._chain: Any = native.llama_sampler_chain_init(parameters)
        added = {**sampling.logit_bias, **dict.fromkeys(never, float("-inf"))}
        if added:
            biases = (native.llama_logit_bias * len(added))(
                *(native.llama_logit_bias(token, bias) for token, bias in added.items())
            )
            self._add(native.llama_sampler_init_logit_bias(vocabulary, len(added), biases))
        if sampling.repeat_penalty != 1.0:
            repeat = native.llama_sampler_init_penalties(
                vocabulary, _REPEAT_WINDOW, sampling.repeat_penalty, 0.0, 0.0
            )
            for token in prompt[-_REPEAT_WINDOW:]:
                native.llama_sampler_accept(repeat, token)
            self._add(repeat)
        if sampling.presence_penalty or sampling.frequency_penalty:
            self._add(
                native.llama_sampler_init_penalties(
                    vocabulary,
                    context,
                    1.0,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )
        if sampling.temperature == 0:
            self.plain = native.llama_sampler_chain_n(self._chain) == 0
            self._add(native.llama_sampler_init_greedy())
            return
        if sampling.top_k:
            self._add(native.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            self._add(native.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p:
            self._add(native.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(native.llama_sampler_init_temp(sampling.temperature))
        seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
        self._add(native.llama_sampler_init_dist(seed % _NATIVE_RANDOM))

    def _add(self, sampler: Any) -> None:
        native.llama_sampler_chain_add(self._chain, sampler)

    def draw(self, context: Any, output: int) -> int:
        """The next token, from the logits at batch position ``output``."""
        return int(native.llama_sampler_sample(self._chain, context, output))

    def close(self) -> None:
        """Free the chain."""
        if self._chain is not None:
            native.llama_sampler_free(self._chain)
            self._chain = None
