"""What the models' rows say of the hosts they are on; where there is one host, nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from console.line import tidy
from engine import EngineSnapshot, HostState, HostView, ModelView


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The hosts of a snapshot as a row needs them."""

    widest: int = 0
    """Letters of the longest host's name; 0 where there is one host."""
    troubled: Mapping[str, HostView] = field(default_factory=dict)
    """By name, those that are not well."""

    def state(self, model: ModelView) -> HostState:
        """How the host of a model is."""
        host = self.troubled.get(model.host)
        return HostState.OK if host is None else host.state


NOWHERE = Whereabouts()
"""There is one host."""


def whereabouts(snapshot: EngineSnapshot) -> Whereabouts:
    """What the rows of this snapshot have to say."""
    hosts = snapshot.hosts
    if len(hosts) < 2:
        return NOWHERE
    return Whereabouts(
        max(len(host.name) for host in hosts),
        {host.name: host for host in hosts if host.state is not HostState.OK},
    )


def plain_id(model: ModelView) -> str:
    """A model's id without the host that its row names anyway: ``m@b`` on ``b`` is ``m``."""
    return model.id.removesuffix(f"@{model.host}") if model.host else model.id


def asked_as(snapshot: EngineSnapshot, model_id: str) -> str:
    """The name under which this row alone is asked: the plain id means every copy of a model, and
    the least loaded of them would answer for the one that was chosen."""
    model = snapshot.model(model_id)
    if model is None:
        return model_id
    copies = any(m is not model and m.family == model.family for m in snapshot.models)
    return model.alone if model.family and copies else model_id


def trouble_words(host: HostView, *, ascii_only: bool = False) -> str:
    """What is wrong with a host and what follows, with no figure that a clock would change."""
    name = tidy(host.name, ascii_only=ascii_only)
    if host.state is HostState.STALE:
        return f"{name} is not heard: what stands here is old, and nothing is loaded there"
    why = tidy(host.why, ascii_only=ascii_only)
    return f"{name} is lost: {why}" if why else f"{name} is lost"
