"""On which hosts the ranks of a model run: on its own while they fit there, else on others too.

The ring that MLX's ranks compute over knows no password: whoever reaches a rank's port while they
meet could take another's place and read what is computed. So a rank goes to another host only
where an operator has named, for both, the address of a network that nobody else is on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import Code, Decision, EngineError
from engine.face import LoadOptions
from engine.fleet.host import Host
from engine.fleet.runtimes import Runtime
from engine.lives.model import Model
from engine.services import Services
from engine.types import Backend, HostState, MemoryEstimate, Readiness
from engine.workers.placement import Post

_PASSWORDLESS = (
    ", or name the address each host's ranks are to meet at ([hosts.NAME] ring = …): MLX's ring "
    "has no password, so without it all ranks run on one host"
)


def ranks_of(services: Services, model: Model, options: LoadOptions) -> int:
    """How many processes a load is to split a model among."""
    own = services.settings.model.get(model.entry.plain)
    return options.ranks or (own.ranks if own else 1)


def _others(services: Services, model: Model) -> list[tuple[Host, Model]]:
    """The copies on other hosts of the same class, the roomiest first. One that is held does
    nothing, so no part either."""
    hosts = services.hosts
    copies = (copy for copy in services.copies.of(model.family) if copy is not model)
    pairs = [(hosts.of(copy), copy) for copy in copies if copy.place.kind == model.place.kind]
    there = [
        (host, copy)
        for host, copy in pairs
        if host.state is HostState.OK and copy.readiness is not Readiness.QUARANTINED
    ]
    return sorted(there, key=lambda pair: (-pair[0].room, pair[0].name))


def _able(services: Services, model: Model) -> list[tuple[Host, Model]]:
    """Those of them that may hold ranks of it."""
    if model.entry.backend is Backend.GGUF or not services.hosts.of(model).ring:
        return []
    return [(host, copy) for host, copy in _others(services, model) if host.ring]


def elsewhere(services: Services, model: Model, options: LoadOptions) -> int:
    """Bytes that may be promised on other hosts to ranks of this model."""
    if ranks_of(services, model, options) == 1:
        return 0
    return sum(max(host.room, 0) for host, _ in _able(services, model))


def _seats(host: Host, runtime: Runtime, each: int) -> int:
    """How many ranks of this size a host has room for, in its budget and on its device."""
    room, taken = host.room, host.budget.total - host.room
    if (limit := host.quarters.device_limit(runtime)) is not None:
        room = min(room, limit - taken)
    return max(room, 0) // max(each, 1)


async def seated(
    services: Services, model: Model, runtime: Runtime, estimate: MemoryEstimate, print_of: str
) -> tuple[Post, ...]:
    """Where each rank is to run; empty when all run on the model's own host, or when there are not
    enough hosts with its files, its runtime's version and room for the rest.

    Args:
        print_of: The model's fingerprint: a copy of another content holds no part of it.
    """
    here = services.hosts.of(model)
    each = estimate.per_rank
    first = min(estimate.ranks, _seats(here, runtime, each))
    left = estimate.ranks - first
    if not first or not left:
        return ()
    quarters = here.quarters
    mine = Post(here.name, Path(runtime.python), str(model.entry.path), str(quarters.state_dir))
    posts = [mine] * first
    for host, copy in _able(services, model):
        there = host.quarters.runtimes.choose(copy.entry, runtime.name)
        share = min(left, _seats(host, there, each))
        if not share or there.error or there.version != runtime.version:
            continue
        try:
            if await host.quarters.fingerprint(copy.entry) != print_of:
                continue
        except EngineError:
            continue  # lost meanwhile
        files, state_dir = str(copy.entry.path), str(host.quarters.state_dir)
        posts += [Post(host.name, Path(there.python), files, state_dir)] * share
        left -= share
        if not left:
            return tuple(posts)
    return ()


def promised(
    services: Services,
    model: Model,
    estimate: MemoryEstimate,
    posts: Sequence[Post],
    limit: int | None,
) -> Decision | None:
    """Promise each host's part of the memory. None when it is done; else why it cannot be, and
    nothing is promised.

    Args:
        limit: What the device of the model's own host can hold; None is no limit.
    """
    own = services.hosts.of(model)
    if not posts:
        return own.budget.reserve(model.id, estimate.total, limit)
    for name, count in Counter(post.host for post in posts).items():
        host = services.hosts.named(name) or own
        part = count * estimate.per_rank
        refusal = host.budget.reserve(model.id, part, limit if host is own else None)
        if refusal is not None:
            services.hosts.release(model.id)
            return refusal
    return None


def advised(services: Services, model: Model, options: LoadOptions, decision: Decision) -> Decision:
    """The refusal, with what would let other hosts help where nobody has allowed it."""
    if (
        decision.code is not Code.INSUFFICIENT_MEMORY
        or model.entry.backend is Backend.GGUF
        or ranks_of(services, model, options) == 1
        or not _others(services, model)
        or _able(services, model)
    ):
        return decision
    return replace(decision, remedy=decision.remedy + _PASSWORDLESS)
