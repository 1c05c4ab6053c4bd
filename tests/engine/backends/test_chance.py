"""The chances told are those the logits give."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from engine.backends.chance import chance

ROW = np.array([2.0, -1.0, 0.5, 7.25, -np.inf, 3.0], dtype=np.float32)


def spell(token: int) -> bytes:
    return bytes([0xC3, token])


def test_they_are_natural_logarithms_of_the_whole_vocabulary() -> None:
    total = sum(math.exp(value) for value in ROW)
    found = chance(ROW, 2, 3, spell)
    assert math.exp(found.logprob) == pytest.approx(math.exp(0.5) / total)
    assert [one.bytes for one in found.top] == [(0xC3, 3), (0xC3, 5), (0xC3, 0)]
    likeliest = [math.exp(value) / total for value in (7.25, 3.0, 2.0)]
    assert [math.exp(one.logprob) for one in found.top] == pytest.approx(likeliest)
    assert (found.bytes, found.text) == ((0xC3, 2), "\ufffd\x02")
    assert chance(ROW, 2, 0, spell).top == ()


def test_large_logits_do_not_overflow() -> None:
    row = np.array([30_000.0, 29_999.0], dtype=np.float32)
    assert chance(row, 0, 0, spell).logprob == pytest.approx(-math.log(1 + math.exp(-1)))


@pytest.mark.parametrize(
    "row", [ROW, np.full(6, np.nan, dtype=np.float32), np.full(6, -np.inf, dtype=np.float32)]
)
def test_what_json_cannot_say_is_told_as_never(
    row: npt.NDArray[np.float32],
) -> None:
    found = chance(row, 4, 6, spell)
    assert found.logprob == -9999.0
    assert all(math.isfinite(one.logprob) for one in found.top)
