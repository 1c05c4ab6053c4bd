"""The requests being computed: mlx-lm's batch generator, told how each of them wants its tokens."""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.backends import mlx_release, mlx_runtime
from engine.backends.constraint import Constraint
from engine.backends.mlx_model import LoadedModel
from engine.backends.mlx_prefix import Prefix
from engine.backends.mlx_ring import Ring
from engine.backends.mlx_sampler import Record, make_processors, make_sampler
from engine.backends.prefill import PrefillPace
from engine.workers.protocol import Sampling

_MOST = 2048
"""Largest piece of a prompt read at once: mlx-lm's own number."""
_CPU_SMALLEST = 4
"""On a CPU MLX gains nothing from a batch, so a step may be as short as patience asks."""
_GPU_SMALLEST = 128
"""On a GPU a smaller piece wastes most of it."""


class Read(NamedTuple):
    """How far a prompt has been read, in tokens."""

    number: int
    done: int
    total: int


class Drawn(NamedTuple):
    """A new token; ``reason`` is ``stop`` for the one that ends a text, ``length`` for the last."""

    number: int
    token: int
    reason: Literal["stop", "length"] | None
    logits: npt.NDArray[np.float32] | None
    """As the model left them, for a request that asked for chances."""


class Batch:
    """A step function over mlx-lm's ``BatchGenerator``.

    It serves: samplers, penalties and stop tokens are per request, requests join and leave between
    steps, and prompts are read in pieces. What it lacks is here: the size of a piece that keeps a
    step short, seeds that mean something (mlx_sampler), and prompts that begin alike (mlx_prefix).

    Raises:
        ValueError: the model's cache cannot be shared between requests.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        slots: int,
        clock: Callable[[], float] = time.monotonic,
        ring: Ring | None = None,
    ) -> None:
        from mlx_lm.generate import BatchGenerator

        from engine.backends.mlx_cache import joining

        self._loaded = loaded
        self._clock = clock
        smallest = _GPU_SMALLEST if mlx_runtime.on_gpu() else _CPU_SMALLEST
        self._pace = PrefillPace(_MOST, smallest=smallest, first=4 * smallest)
        self._ending, make = mlx_release.endings()
        self._ends, self._no_ends = make(sorted(loaded.ends)), make(())
        self._generator: Any = BatchGenerator(
            loaded.model,
            completion_batch_size=slots,
            prefill_batch_size=slots,
            prefill_step_size=_MOST,
        )
        self._joining = joining
        self._ring = ring
        if ring is not None:
            ring.compute_on(self._generator.stream)
        self._slots = slots
        self._prefix = Prefix()
        self._shared: dict[int, int] = {}
        """Tokens of a prompt that were in the cache when it came."""
        self._streams: set[int] = set()
        self._readers: dict[int, int] = {}
        """Tokens read so far, of prompts not wholly read."""
        self._records: dict[int, Record] = {}

    def add(
        self,
        prompt: list[int],
        sampling: Sampling,
        limit: int,
        *,
        ignore_eos: bool = False,
        constraint: Constraint | None = None,
        chances: bool = False,
    ) -> int:
        """Let a request join at the next step; returns its number."""
        never = self._loaded.ends if ignore_eos else ()
        processors = make_processors(sampling, len(prompt), never, constraint)
        record = Record() if chances else None
        if record is not None:
            processors.insert(0, record)
        sampler = make_sampler(sampling, self._loaded.vocabulary)
        if self._ring is not None:
            sampler = self._ring.leading(sampler)
        kept, shared = self._prefix.take(prompt) or (None, 0)
        [number] = self._generator.insert(
            [prompt[shared:]],
            caches=[self._joining(self._loaded.model, kept)],
            all_tokens=[prompt[:shared]],
            max_tokens=[limit],
            samplers=[sampler],
            logits_processors=[processors],
            **{self._ending: [self._no_ends if ignore_eos else self._ends]},
        )
        self._shared[number] = self._readers[number] = shared
        if record is not None:
            self._records[number] = record
        if len(self._shared) >= self._slots:
            self._prefix.drop()
        return int(number)

    def shared(self, number: int) -> int:
        """Tokens of a prompt that were in the cache when it came."""
        return self._shared[number]

    def remove(self, number: int) -> None:
        """Let a request leave at once."""
        [(cache, tokens)] = self._generator.remove([number], return_prompt_caches=True).values()
        self._prefix.keep(cache, tokens)
        self._forget(number)

    def _forget(self, number: int) -> None:
        del self._shared[number]
        self._streams.discard(number)
        self._readers.pop(number, None)
        self._records.pop(number, None)

    def step(self) -> tuple[list[Read], list[Drawn]]:
        """Read a piece of every unread prompt and draw a token for every stream."""
        self._prefix.settle()
        if self._readers:
            budget = self._pace.budget(beside_streams=bool(self._streams))
            if self._ring is not None:
                budget = self._ring.lead(budget)
            self._generator.prefill_step_size = max(1, budget // len(self._readers))
        started = self._clock()
        prompts, tokens = self._generator.next()
        took = self._clock() - started
        read = []
        for prompt in prompts:
            done, total = (count + self._shared[prompt.uid] for count in prompt.progress)
            read.append(Read(prompt.uid, done, total))
        drawn = [self._drawn(response) for response in tokens]
        fresh = sum(r.done - self._readers.get(r.number, r.done) for r in read)
        self._pace.measured(fresh, took)
        self._readers.update((r.number, r.done) for r in read)
        for prompt in prompts:
            if prompt.end_of_prompt:
                del self._readers[prompt.uid]
                self._streams.add(prompt.uid)
        for token in tokens:
            if token.finish_reason:
                self._prefix.keep(token.prompt_cache, token.all_tokens)
                self._forget(token.uid)
        return read, drawn

    def _drawn(self, response: Any) -> Drawn:
        record = self._records.get(response.uid)
        logits = None if record is None else record.take()
        return Drawn(response.uid, int(response.token), response.finish_reason, logits)

    def close(self) -> None:
        """Wait for what is being computed and let go of it."""
        import mlx.core as mx

        mx.synchronize(self._generator.stream)
        self._generator.close()
        self._prefix.drop()
        self._generator = None
