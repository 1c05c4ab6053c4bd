"""The requests being computed: mlx-lm's batch generator, told how each of them wants its tokens."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.backends import mlx_release, mlx_runtime
from engine.backends.constraint import Constraint
from engine.backends.mlx_model import LoadedModel
from engine.backends.mlx_prefix import Cache, Past, Prefixes
from engine.backends.mlx_ring import Ring
from engine.backends.mlx_sampler import Record, make_processors, make_sampler
from engine.backends.prefill import PrefillPace
from engine.backends.prefix import WORTH_WAITING, longest, shared
from engine.workers.protocol import Sampling

_MOST = 2048
"""Largest piece of a prompt read at once: mlx-lm's own number."""
_CPU_SMALLEST = 4
"""On a CPU MLX gains nothing from a batch, so a step may be as short as patience asks."""
_GPU_SMALLEST = 128
"""On a GPU a smaller piece wastes most of it."""
_LOOK = 64
"""Steps between looks at how far the caches have grown, beside those at every piece of a prompt.
Meanwhile each sequence grows by as many tokens at most."""


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


@dataclass(slots=True, eq=False)
class _Member:
    """One request of the batch."""

    number: int
    tokens: list[int]
    """Its prompt."""
    shared: int
    """Tokens of it that were in the cache when it came."""
    record: Record | None
    filled: int = 0
    """Tokens of it that are computed, once it has been part of a step."""

    @property
    def divisible(self) -> bool:
        """It is; those of other models are never asked."""
        return True


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
        context: int,
        clock: Callable[[], float] = time.monotonic,
        ring: Ring | None = None,
    ) -> None:
        from mlx_lm.generate import BatchGenerator

        from engine.backends.mlx_cache import Copies, joining, plain

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
        self._copies = Copies()
        self._prefixes = Prefixes(self._copies, context=context, slots=slots)
        self._plain = plain(loaded.model)
        self._members: dict[int, _Member] = {}
        self._reading: dict[int, _Member] = {}
        """Those whose prompt is not wholly read."""
        self._steps = 0

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
        cache, common = self._begin(prompt)
        [number] = self._generator.insert(
            [prompt[common:]],
            caches=[self._joining(self._loaded.model, cache)],
            all_tokens=[prompt[:common]],
            max_tokens=[limit],
            samplers=[sampler],
            logits_processors=[processors],
            **{self._ending: [self._no_ends if ignore_eos else self._ends]},
        )
        member = _Member(int(number), prompt, common, record)
        self._members[member.number] = self._reading[member.number] = member
        return member.number

    def _begin(self, prompt: list[int]) -> tuple[Cache | None, int]:
        """What is to be had of a prompt's cache, and how many of its tokens are in it."""
        source, common = self._longest(prompt)
        if source is None:
            return None, 0
        if isinstance(source, Past):
            return self._prefixes.take(source, common), common
        [(cache, tokens)] = self._generator.extract_cache([source.number]).values()
        cache = self._copies.copy(cache, len(tokens) - common)
        # The batch writes on into memory only as long as nobody else waits to read from it.
        self._copies.settle([cache])
        return cache, common

    def _longest(self, prompt: list[int]) -> tuple[Past | _Member | None, int]:
        holders: list[Past | _Member] = [*self._prefixes.kept]
        if self._plain:
            holders.extend(self._members.values())
        return longest(prompt, holders)

    def awaits(self, prompt: list[int]) -> bool:
        """Whether another request is reading so much of the same that a prompt had better wait."""
        if not self._plain or not self._reading:
            return False
        most = len(prompt) - 1
        coming = max(shared(one.tokens, prompt, most) for one in self._reading.values())
        return coming > WORTH_WAITING and coming - self._longest(prompt)[1] > WORTH_WAITING

    def shared(self, number: int) -> int:
        """Tokens of a prompt that were in the cache when it came."""
        return self._members[number].shared

    def remove(self, number: int) -> None:
        """Let a request leave at once."""
        [(cache, tokens)] = self._generator.remove([number], return_prompt_caches=True).values()
        self._prefixes.keep(cache, tokens)
        self._forget(number)

    def _forget(self, number: int) -> None:
        del self._members[number]
        self._reading.pop(number, None)

    def _make_room(self) -> None:
        """Give up what is kept for what the running requests have grown to."""
        self._steps += 1
        if (self._prefixes.settle() or self._reading or self._steps % _LOOK == 0) and (
            self._prefixes.used
        ):
            self._prefixes.make_room(self._generator.prompt_cache_nbytes)

    def step(self) -> tuple[list[Read], list[Drawn]]:
        """Read a piece of every unread prompt and draw a token for every stream."""
        self._make_room()
        if self._reading:
            streams = len(self._members) > len(self._reading)
            budget = self._pace.budget(beside_streams=streams)
            if self._ring is not None:
                budget = self._ring.lead(budget)
            self._generator.prefill_step_size = max(1, budget // len(self._reading))
        started = self._clock()
        prompts, tokens = self._generator.next()
        took = self._clock() - started
        read, fresh = [], 0
        for prompt in prompts:
            member = self._members[prompt.uid]
            done, total = (count + member.shared for count in prompt.progress)
            fresh += done - max(member.filled, member.shared)
            member.filled = done
            read.append(Read(prompt.uid, done, total))
            if prompt.end_of_prompt:
                del self._reading[prompt.uid]
                self._keep_prompt(prompt.uid)
        self._pace.measured(fresh, took)
        drawn = [self._drawn(response) for response in tokens]
        for token in tokens:
            if token.finish_reason:
                self._prefixes.keep(token.prompt_cache, token.all_tokens)
                self._forget(token.uid)
        return read, drawn

    def _keep_prompt(self, number: int) -> None:
        """Keep what was just read, where it cannot be had any more once there is an answer.

        A chat's next turn goes on from here when its template writes the answer otherwise than the
        model did, without its thinking for instance.
        """
        if not self._plain:
            [(cache, tokens)] = self._generator.extract_cache([number]).values()
            self._prefixes.keep(cache, tokens)

    def _drawn(self, response: Any) -> Drawn:
        record = self._members[response.uid].record
        logits = None if record is None else record.take()
        return Drawn(response.uid, int(response.token), response.finish_reason, logits)

    def close(self) -> None:
        """Wait for what is being computed and let go of it."""
        import mlx.core as mx

        mx.synchronize(self._generator.stream)
        self._generator.close()
        self._prefixes.drop()
        self._generator = None
