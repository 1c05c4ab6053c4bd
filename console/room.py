"""What a load would need beside what is free, and which idle models would have to go for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine import MemoryEstimate, MemoryView, ModelView, Readiness

_HOLDING = (
    Readiness.ADMITTED,
    Readiness.LOADING,
    Readiness.CANARY_PENDING,
    Readiness.ROUTABLE,
)


@dataclass(frozen=True, slots=True)
class Room:
    """Sizes in bytes. ``goers`` are the models whose end would make room, smallest set first."""

    needed: int
    free: int
    goers: tuple[ModelView, ...] = ()
    enough: bool = True
    """False when even all idle models together would not do."""

    @property
    def fits(self) -> bool:
        """True if nothing has to go."""
        return self.needed <= self.free


def held(model: ModelView) -> int:
    """Bytes a live model holds of the budget: what it was promised, or was seen to use."""
    promised = model.estimate.total if model.estimate is not None else model.weight_bytes
    return max(promised, model.measured_bytes or 0)


def free_of(memory: MemoryView) -> int:
    """Bytes a new load may have: the budget's rest, and no more than the machine has."""
    rest = max(memory.budget - memory.reserved, 0)
    return min(rest, memory.available) if memory.available else rest


def room_for(
    model: ModelView, estimate: MemoryEstimate, memory: MemoryView, models: Sequence[ModelView]
) -> Room:
    """Work out what would have to be unloaded; a busy model is never named.

    The largest idle models are named first, so that as few as possible have to go.
    """
    free = free_of(memory)
    missing = estimate.total - free
    if missing <= 0:
        return Room(estimate.total, free)
    idle = [m for m in models if m.id != model.id and m.readiness in _HOLDING and m.requests == 0]
    goers: list[ModelView] = []
    for candidate in sorted(idle, key=lambda m: (-held(m), m.id)):
        goers.append(candidate)
        missing -= held(candidate)
        if missing <= 0:
            one = [c for c in idle if held(c) >= estimate.total - free]
            if one and len(goers) == 1:
                goers = [min(one, key=lambda m: (held(m), m.id))]
            return Room(estimate.total, free, tuple(goers))
    return Room(estimate.total, free, tuple(goers), enough=False)
