"""Which models are loaded only by an operator who is there to see what happens."""

from engine.errors import Code, Decision, refuse
from engine.lives.model import Model
from engine.services import Services


def caution(model: Model, services: Services) -> str:
    """Why a model must not be loaded by itself, at a start or for a request; empty if it may.

    Quarantine and hold are the gate's to refuse, for everybody.
    """
    if model.view.unclean:
        return model.view.reason
    version = (model.entry.backend, model.runtime.version)
    if version in services.quarantine.suspects():
        return f"{model.runtime.version} is suspect: three models were struck down on it"
    return ""


def unattended(model: Model, why: str) -> Decision:
    """What a request is told that would have such a model loaded."""
    return refuse(
        Code.MODEL_NOT_READY,
        f"{model.id} is not loaded for a request: {why}",
        retryable=False,
        expected="a model that may be loaded by itself",
        found=why,
        remedy="an operator may load it; the next request then finds it",
    )
