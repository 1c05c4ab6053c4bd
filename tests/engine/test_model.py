"""What a client is told of a model that is known but takes no requests."""

import pytest

from engine.errors import Code
from engine.lives.model import not_ready
from engine.types import Backend, ModelView, Readiness


@pytest.mark.parametrize(
    ("readiness", "draining", "state", "after_s"),
    [
        (Readiness.UNLOADED, False, "unloaded", None),
        (Readiness.LOADING, False, "loading", 5.0),
        (Readiness.ROUTABLE, True, "draining", None),
        # The moment between a worker's death and the move that follows it.
        (Readiness.ROUTABLE, False, "without its worker", 5.0),
    ],
)
def test_a_client_is_told_the_state_and_whether_to_wait(
    readiness: Readiness, draining: bool, state: str, after_s: float | None
) -> None:
    view = ModelView(
        id="m",
        path="/m",
        backend=Backend.SIMULATED,
        runtime="default",
        backend_version="1",
        weight_bytes=1,
        readiness=readiness,
        draining=draining,
    )
    told = not_ready(view)
    assert (told.code, told.found, told.retry_after_s) == (Code.MODEL_NOT_READY, state, after_s)
    assert told.message == f"m is {state}"
    assert told.remedy == ("wait until it is routable" if after_s else "load it first")
