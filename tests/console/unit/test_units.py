"""Figures in the few characters a column has."""

import pytest

from console import units


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 MB"),
        (94_000_000, "94 MB"),
        (999_499_999, "999 MB"),
        (999_600_000, "1.0 GB"),
        (5_000_000_000, "5.0 GB"),
        (9_960_000_000, "10 GB"),
        (121_000_000_000, "121 GB"),
        (None, ""),
    ],
)
def test_sizes(size: int | None, text: str) -> None:
    assert units.size_text(size) == text
    assert len(units.size_text(size)) <= 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (4, "4 s"), (252, "4:12"), (3_852, "1:04:12"), (864_000, "10 d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert units.span_text(seconds) == text


def test_clock_shows_the_date_of_another_day_in_the_same_width() -> None:
    now = 1_700_748_131.0
    assert units.clock_text(now, now) == "14:02:11"
    assert units.clock_text(now - 90_000, now) == "22 Nov  "


def test_rates_and_gauges() -> None:
    assert units.rate_text(46.24) == "46.2"
    assert units.rate_text(1204.4) == "1,204"
    assert units.bar_text(0.6, 10) == "██████░░░░"
    assert units.bar_text(7.0, 4, ascii_only=True) == "####"
    assert units.ms_text(61.2) == "61 ms"
    assert units.context_text(131_072) == "128k"
