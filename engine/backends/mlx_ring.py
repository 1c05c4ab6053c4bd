"""The ring the ranks of a split model compute over: MLX distributed's own, and what keeps them in
step on it.

The ring knows no password: whoever reaches its port while the ranks meet could take a rank's
place. On one machine it is on loopback only; between machines, at addresses an operator has named.

Every rank must do the same ring operations in the same order, or all of them wait for ever. So
whatever a rank could decide differently from another, by its clock, its locale or the last digit of
a figure, is rank 0's word here: the tokens of a prompt, how much of it is read at once, and every
token drawn.
"""

import contextlib
import functools
import json
import os
import time
from typing import Any

from engine.backends import mlx_release
from engine.backends.base import LoadError
from engine.backends.mlx_sampler import Sampler
from engine.workers.placement import Seat

_HEAD_START_S = 0.2
"""The last rank connects before it listens, all others listen first. Coming a little later it finds
its neighbour listening, instead of after MLX's first second of waiting."""


class Ring:
    """One rank's place on the ring. :class:`engine.workers.rank.Meeting` is its other face.

    Args:
        seat: Which rank this is, and where all of them listen.
    """

    def __init__(self, seat: Seat) -> None:
        self.first = seat.rank == 0
        self._seat = seat
        self._group: Any = None
        self._stream: Any = None

    def join(self) -> Any:
        """Connect to the neighbours and wait for theirs; returns MLX's group.

        Raises:
            LoadError: the ranks did not find each other.
        """
        import mlx.core as mx

        if self._seat.rank == self._seat.ranks - 1:
            time.sleep(_HEAD_START_S)
        # MLX reads the hosts from a file; a pipe is one that leaves nothing behind.
        reading, writing = os.pipe()
        try:
            os.write(writing, json.dumps([[host] for host in self._seat.ring]).encode())
            os.close(writing)
            os.environ["MLX_RANK"] = str(self._seat.rank)
            os.environ["MLX_HOSTFILE"] = f"/dev/fd/{reading}"
            self._group = mx.distributed.init(strict=True, backend="ring")
        except RuntimeError as error:
            raise LoadError(f"the ranks did not find each other: {error}") from error
        finally:
            os.close(reading)
        return self._group

    @property
    def joined(self) -> bool:
        """Whether the ranks are connected."""
        return self._group is not None

    def compute_on(self, stream: Any) -> None:
        """From now on every ring operation goes through this stream of MLX's: of two streams,
        either could come first on one rank and last on another."""
        self._stream = stream

    def order(self) -> contextlib.AbstractContextManager[Any]:
        """Where everything that may use the ring is done."""
        import mlx.core as mx

        return contextlib.nullcontext() if self._stream is None else mx.stream(self._stream)

    def gather(self, numbers: list[int]) -> list[list[int]]:
        """Tell all ranks so many numbers, and wait for theirs: one row for each rank."""
        import mlx.core as mx

        with self.order():
            mine = mx.array([numbers], dtype=mx.int64)
            rows: Any = mx.distributed.all_gather(mine, group=self._group).tolist()
        return [[int(number) for number in row] for row in rows]

    def lead(self, number: int) -> int:
        """Rank 0's number."""
        return self.gather([number])[0][0]

    def lead_tokens(self, tokens: list[int]) -> list[int]:
        """Rank 0's tokens, on every rank; none of them where rank 0 has none.

        Raises:
            RuntimeError: rank 0 has a prompt and this rank has none: it goes another way.
        """
        import mlx.core as mx

        count = self.lead(len(tokens))
        if count and not tokens:
            raise RuntimeError("out of step: rank 0 has a prompt that this rank refuses")
        if not count:
            return []
        with self.order():
            mine = mx.array(tokens if self.first else [0] * count, dtype=mx.int64)
            led: Any = mx.distributed.all_sum(mine, group=self._group).tolist()
        return [int(token) for token in led]

    def leading(self, sampler: Sampler) -> Sampler:
        """A sampler that draws rank 0's tokens on every rank."""
        if sampler is mlx_release.greedy_sampler():
            return self._greedy
        return functools.partial(self._draw, sampler)

    @functools.cached_property
    def _greedy(self) -> Sampler:
        """Only one, because requests that share a sampler are drawn in one call."""
        return functools.partial(self._draw, mlx_release.greedy_sampler())

    def _draw(self, sampler: Sampler, logprobs: Any) -> Any:
        import mlx.core as mx

        drawn = sampler(logprobs)
        mine = drawn if self.first else mx.zeros_like(drawn)
        return mx.distributed.all_sum(mine, group=self._group)
