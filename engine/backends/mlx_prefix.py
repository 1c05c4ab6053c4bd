"""The tokens last computed and their cache, kept so that a prompt that begins alike is not read
twice: the next turn of a chat, or the canary's next question.
"""

from typing import Any

from engine.backends.prefix import WORTHWHILE, shared


class Prefix:
    """Holds at most one sequence's cache, whoever it was made for.

    It takes up a slot's worth of memory, so its owner drops it when every slot is in use.
    """

    def __init__(self) -> None:
        self._cache: list[Any] = []
        self._tokens: list[int] = []
        self._settled = True

    def keep(self, cache: list[Any], tokens: list[int]) -> None:
        """Keep a sequence that has ended, in place of the one kept before."""
        offsets = [getattr(layer, "offset", None) for layer in cache]
        if len(tokens) < WORTHWHILE or any(at not in (None, len(tokens)) for at in offsets):
            return
        self._cache, self._tokens = cache, list(tokens)
        self._settled = False

    def settle(self) -> None:
        """Copy what is kept out of the batch it was part of, whose memory is free then.

        Not done by ``keep``, because it waits for the batch's computation.
        """
        if self._settled:
            return
        import mlx.core as mx

        mx.eval([layer.state for layer in self._cache])
        self._settled = True

    def take(self, prompt: list[int]) -> tuple[list[Any], int] | None:
        """Give away what is kept, cut to what it has in common with a prompt.

        Returns:
            The cache and how many tokens of the prompt are in it, always leaving at least one to
            compute; or None, and then it stays kept.
        """
        from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

        common = shared(self._tokens, prompt, len(prompt) - 1)
        surplus = len(self._tokens) - common
        if common < WORTHWHILE or (surplus and not can_trim_prompt_cache(self._cache)):
            return None
        cache = self._cache
        self.drop()
        if surplus and trim_prompt_cache(cache, surplus) != surplus:
            return None
        return cache, common

    def drop(self) -> None:
        """Keep nothing."""
        self._cache, self._tokens, self._settled = [], [], True
