"""The attention cache of requests that compute together, as plain as a single one's while there is
only one.

mlx-lm's batched cache counts in arrays and masks every step, because its sequences may differ in
length. One sequence alone needs neither: without them a token of the starter takes 3,892
operations instead of 4,024, as with ``stream_generate``, and a long prompt meets the kernels made
for causal attention, with no mask of its length squared in memory.

Importing this imports mlx-lm.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import (
    BatchKVCache,
    CacheList,
    KVCache,
    can_trim_prompt_cache,
    make_prompt_cache,
    trim_prompt_cache,
)

from engine.backends.mlx_prefix import Cache


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


def plain(model: Any) -> bool:
    """Whether all layers keep every token of a sequence, so that any part of it can be copied."""
    return all(_plain(layer) for layer in make_prompt_cache(model))


def _plain(layer: Any) -> bool:
    if type(layer) is CacheList:
        return all(_plain(part) for part in layer.caches)
    return type(layer) is KVCache


class Copies:
    """How such caches are measured, copied and cut.

    An array of MLX's is changed in place only as a Python object: an assignment to a part of one
    gives that object a new value, and nobody else's. So two caches may share memory but never an
    array object, and a deep copy makes new ones of the same memory.
    """

    def size(self, cache: Cache) -> int:
        """The bytes it takes."""
        return sum(layer.nbytes for layer in cache)

    def largest(self, cache: Cache, context: int) -> int:
        """The bytes one like it takes with a whole context."""
        return sum(_largest(layer, context) for layer in cache)

    def holds(self, cache: Cache, tokens: int) -> bool:
        """Whether it is of exactly so many tokens, as far as its layers tell."""
        return all(
            getattr(part, "offset", tokens) == tokens for layer in cache for part in _parts(layer)
        )

    def divisible(self, cache: Cache) -> bool:
        """Whether it can be cut."""
        return bool(can_trim_prompt_cache(cache))

    def copy(self, cache: Cache, surplus: int) -> Cache:
        """The same without the last ``surplus`` tokens; what is done to it changes only itself."""
        copied: Cache = copy.deepcopy(cache)
        if surplus:
            trim_prompt_cache(copied, surplus)
        for part in (part for layer in copied for part in _parts(layer)):
            # Or its first new token would copy the surplus too.
            if isinstance(part, KVCache) and part.keys is not None:
                part.keys = part.keys[..., : part.offset, :]
                part.values = part.values[..., : part.offset, :]
        return copied

    def settle(self, caches: list[Cache]) -> None:
        """Compute their arrays, so that they hold on to nothing else."""
        mx.eval([layer.state for cache in caches for layer in cache])


def _parts(layer: Any) -> tuple[Any, ...]:
    return tuple(layer.caches) if type(layer) is CacheList else (layer,)


def _largest(layer: Any, context: int) -> int:
    if type(layer) is CacheList:
        return sum(_largest(part, context) for part in layer.caches)
    keys = getattr(layer, "keys", None)
    if not isinstance(keys, mx.array):
        return int(layer.nbytes)  # a state, as large after one token as after a thousand
    step = getattr(layer, "step", 1)  # tokens it grows by at once
    whole = -(-context // step) * step
    tokens = min(whole, getattr(layer, "max_size", whole))
    return int(layer.nbytes / keys.shape[2] * tokens)
