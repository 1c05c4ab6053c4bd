"""What follows for one model when its host is gone: nothing of it is the model's fault."""

from engine.errors import Code, Decision, refuse
from engine.lives.model import Model
from engine.services import Services
from engine.workers.exits import Fault


async def lose_host(model: Model, services: Services, fault: Fault) -> Decision:
    """Leave a model unloaded, without a strike, because its host is lost.

    The loss itself is one event of the host; of each model there is the registry's row.
    """
    why = fault.detail or fault.cause
    decision = refuse(
        Code.MODEL_UNSTABLE,
        f"{model.id} was unloaded: {why}",
        retryable=True,
        check="host",
        expected="a host that is there",
        found=why,
        remedy="load it on another host, or again once its host is back",
    )
    model.fall(released=services.quarantine.put_back(model.key), reason=why)
    await services.write_down(
        model.key, model.id, "fail", f"{fault.cause}: {why}", "environment", {}
    )
    return decision


def host_gone(name: str, why: str) -> Decision:
    """What is said of a model whose host cannot be asked."""
    return refuse(
        Code.MODEL_NOT_READY,
        f"its host {name} cannot be asked: {why}",
        retryable=True,
        retry_after_s=5.0,
        check="host",
        expected="a host that answers",
        found=why,
        remedy="name another host, or wait until it is back",
    )
