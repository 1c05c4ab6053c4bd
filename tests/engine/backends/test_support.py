"""What a runtime tells of its device, by whichever name its version has for it."""

from types import SimpleNamespace
from typing import Any

import pytest

from engine.backends.support import _working_set

FIGURES = {"device_name": "Apple M3 Ultra", "max_recommended_working_set_size": 384_000_000_000}


def core(device: str, **told: Any) -> SimpleNamespace:
    return SimpleNamespace(
        default_device=lambda: device, Device=lambda kind: kind, gpu="gpu", cpu="cpu", **told
    )


@pytest.mark.parametrize(
    "told",
    [
        {"device_info": lambda: FIGURES},
        {"metal": SimpleNamespace(device_info=lambda: FIGURES)},
    ],
)
def test_a_gpu_tells_what_it_may_hold(told: dict[str, Any]) -> None:
    assert _working_set(core("gpu", **told)) == 384_000_000_000
    assert _working_set(core("cpu", **told)) is None


def test_a_gpu_that_does_not_say_sets_no_limit() -> None:
    assert _working_set(core("gpu", device_info=dict)) is None
