"""What is said of an action that does not fit the state a model is in."""

from engine.errors import Code, Decision, refuse
from engine.lives.model import Model


def draining(model: Model) -> Decision:
    """What is said of a load while the life before drains."""
    return refuse(
        Code.CONFLICT,
        f"{model.id} is being unloaded",
        retryable=True,
        retry_after_s=2.0,
        expected="a model that is not draining",
        found="draining",
        remedy="load it once it is unloaded",
    )


def not_quarantined(model: Model) -> Decision:
    """What is said of a release where there is nothing to release from."""
    return refuse(
        Code.CONFLICT,
        f"{model.id} is not quarantined",
        expected="quarantined",
        found=model.readiness.value,
        remedy="load it instead",
    )
