"""The attention cache of requests that compute together, as plain as a single one's while there is
only one.

mlx-lm's batched cache counts in arrays and masks every step, because its sequences may differ in
length. One sequence alone needs neither: without them a token of the starter takes 3,892
operations instead of 4,024, as with ``stream_generate``, and a long prompt meets the kernels made
for causal attention, with no mask of its length squared in memory.

Importing this imports mlx-lm.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, CacheList, KVCache, make_prompt_cache


class JoiningCache(KVCache):  # type: ignore[misc]
    """The cache a request brings into a batch."""

    @classmethod
    def of(cls, cache: Any) -> "JoiningCache":
        """The same sequence, its arrays shared."""
        joining = cls()
        joining.keys, joining.values, joining.offset = cache.keys, cache.values, cache.offset
        return joining

    @staticmethod
    def merge(caches: Sequence[Any]) -> "TogetherCache":
        """The cache of the batch they begin; where only one does, nothing is copied."""
        if len(caches) == 1:
            return TogetherCache.of(caches[0])
        if not any(cache.size() for cache in caches):
            return TogetherCache([0] * len(caches))
        merged: TogetherCache = TogetherCache.merge(caches)
        return merged


class TogetherCache(BatchKVCache):  # type: ignore[misc]
    """The cache of one sequence or several.

    While there is one, nothing stands before it and ``offset`` is a number, as in
    mlx-lm's ``KVCache``; with several it is an array. Models take both: they are run with either.
    """

    @classmethod
    def of(cls, cache: Any) -> "TogetherCache":
        """One sequence's, its arrays shared."""
        alone = cls([0])
        alone.keys, alone.values = cache.keys, cache.values
        alone._idx = alone.offset = cache.offset
        return alone

    @property
    def _alone(self) -> bool:
        return isinstance(self.offset, int)

    def make_mask(self, *args: Any, **kwargs: Any) -> Any:
        """What a step may attend to: for one sequence as mlx-lm's ``KVCache`` says it."""
        kind = KVCache if self._alone else BatchKVCache
        return kind.make_mask(self, *args, **kwargs)

    def filter(self, batch_indices: list[int]) -> None:
        """Keep these sequences, of which there is at least one."""
        if self._alone:
            return
        super().filter(batch_indices)
        if len(batch_indices) == 1:  # and nothing stands before it any more
            self.offset = self._idx

    def extend(self, other: "TogetherCache") -> None:
        """Take in the sequences of another batch."""
        self.count_each()
        other.count_each()
        super().extend(other)

    def count_each(self) -> None:
        """Count as several do."""
        if self._alone:
            self.offset = mx.array([self._idx])


def joining(model: Any, cache: Sequence[Any] | None = None) -> list[Any]:
    """The cache of a request that is about to join a batch.

    Args:
        cache: What was computed of it before, layer by layer; by default nothing.
    """
    return [_joining(layer) for layer in (make_prompt_cache(model) if cache is None else cache)]


def _joining(layer: Any) -> Any:
    # Only what is exactly this: a subclass may mean something else by its parts.
    if type(layer) is KVCache:
        return JoiningCache.of(layer)
    if type(layer) is CacheList:
        return CacheList(*(_joining(part) for part in layer.caches))
    return layer
