"""Is there room: the estimate against the budget less what is promised to others."""

from engine.admission import answer
from engine.admission.estimate import GB, estimate
from engine.admission.split import kept_whole
from engine.admission.subject import Subject
from engine.errors import Code
from engine.types import Backend, Check, MemoryEstimate

CHECK = "memory"


def judge(subject: Subject) -> tuple[Check, MemoryEstimate]:
    """Whether the model fits beside everything already promised. Never overridable: an operator
    who knows better states ``reserve_gb``, which then is the figure, on the record."""
    facts, options = subject.facts, subject.options
    context = options.context or facts.context
    shape = subject.shape
    need = _need(subject, weights=subject.weight_bytes)
    budget, bound = facts.budget, "budget"
    if facts.device_limit is not None and facts.device_limit < budget:
        budget, bound = facts.device_limit, "device's working set"
    room = budget - facts.reserved - facts.lost
    expected = f"at most {_gb(room)} of the {bound} of {_gb(budget)}"
    if facts.reserved:
        expected += f", {_gb(facts.reserved)} being reserved"
    if facts.elsewhere and (options.ranks or 1) > 1:
        room += facts.elsewhere
        expected = f"at most {_gb(room)}, {_gb(facts.elsewhere)} of it on other hosts"
    if facts.lost:
        expected += f", {_gb(facts.lost)} not being returned by a worker that ended"
    pooled = subject.entry.backend is Backend.GGUF
    found = _words(need, context, facts.slots, pooled=pooled)
    if need.total > room:
        check = answer.failed(
            CHECK,
            Code.INSUFFICIENT_MEMORY,
            f"it needs {_gb(need.total)} and only {_gb(max(room, 0))} are free to promise",
            expected=expected,
            found=found,
            remedy=_remedy(subject, need, room, budget),
        )
    elif need.stated is None and shape is None and not subject.is_simulated:
        check = answer.warned(CHECK, expected, f"{found}; the cache's size is not in the header")
    elif 0 < facts.available < need.total:
        found += f"; only {_gb(facts.available)} are free on the machine right now"
        check = answer.warned(CHECK, expected, found)
    else:
        check = answer.passed(CHECK, expected, found)
    return check, need


def fits(subject: Subject) -> bool:
    """Whether there is certainly room, free on the machine right now too; cheap, since the weights
    are taken at the catalog's word."""
    facts = subject.facts
    need = _need(subject)
    budget = facts.budget if facts.device_limit is None else min(facts.budget, facts.device_limit)
    room = budget - facts.reserved - facts.lost
    return max(need.total, need.weights) <= min(room, facts.available)


def _need(subject: Subject, weights: int | None = None) -> MemoryEstimate:
    facts, options = subject.facts, subject.options
    ranks = options.ranks or 1
    return estimate(
        subject.entry,
        subject.shape,
        options.context or facts.context,
        facts.slots,
        options.reserve_gb,
        weights=weights,
        ranks=ranks,
        whole=kept_whole(subject) if ranks > 1 and not subject.is_simulated else 0,
    )


def _remedy(subject: Subject, need: MemoryEstimate, room: int, budget: int) -> str:
    ways = []
    if need.stated is not None:
        ways.append("state a smaller reserve_gb")
    elif need.cache and need.total - need.cache <= room:
        ways.append("load with a smaller context")
    if subject.facts.reserved and need.total <= budget:
        ways.append("unload another model")
    elif budget < need.total <= subject.facts.budget:
        ways.append("raise iogpu.wired_limit_mb, which bounds what the GPU may hold")
    elif need.total > budget:
        ways.append("raise memory_gb in config.toml if the machine has more")
    if subject.facts.lost:
        ways.append("reboot, which returns what is lost")
    if need.stated is None:
        ways.append("state reserve_gb if you know it takes less")
    return ", or ".join(ways)


def _words(need: MemoryEstimate, context: int, slots: int, *, pooled: bool) -> str:
    if need.stated is not None:
        return f"{_gb(need.stated)} stated by the operator as reserve_gb"
    tokens = f"{context:,} tokens" if pooled else f"{slots} × {context:,} tokens"
    return (
        f"{_gb(need.total)}: weights {_gb(need.weights)}, cache {_gb(need.cache)} for "
        f"{tokens}, overhead {_gb(need.overhead)}"
        + (f", {need.ranks} ranks of {_gb(need.per_rank)}" if need.ranks > 1 else "")
    )


def _gb(size: int) -> str:
    return f"{size / GB:,.1f} GB" if abs(size) >= GB / 10 else f"{size / 1e6:,.0f} MB"
