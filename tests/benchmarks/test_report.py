"""What a benchmark says must be what it found: the table of the README is made of it."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.growth import trend
from tests.benchmarks.report import REPORT, Report, at_least, at_most, markdown, read, spread


def test_the_median_is_held_against_the_bar() -> None:
    report = Report("one")
    assert report.tell("kept", [0.1, 0.5, 9.0], "s", bar=at_most(0.5)).kept is True
    assert report.status == 0
    assert report.tell("missed", [0.1, 0.51, 0.52], "s", bar=at_most(0.5)).kept is False
    assert report.status == 1


def test_beside_a_peer_the_bar_is_one_on_the_ratio_of_neighbours() -> None:
    report = Report("one")
    figure = report.tell("rate", [10.0, 30.0, 20.0], "tok/s", [10, 20, 40], "x", bar=at_least(1.0))
    assert figure.kept is True
    assert figure.ratio == "1.00 (0.50 to 1.50)"
    assert figure.theirs == "x 20.0 tok/s (10.0 to 40.0)"


def test_without_a_bar_nothing_is_missed() -> None:
    report = Report("one")
    assert report.tell("just so", 3.0, "ms").kept is None
    assert report.status == 0


def test_the_table_holds_every_figure_of_every_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORT, str(tmp_path / "figures"))
    Report("a").tell("x | y", 1234.5, "B", bar=at_most(250))
    Report("b").add("z", "grows", kept=True)
    lines = markdown(read(tmp_path / "figures")).splitlines()
    assert lines[2] == "| a: x \\| y | 1,234 B |  |  | ≤ 250 B | **no** |"
    assert lines[3] == "| b: z | grows |  |  |  | yes |"
    assert json.loads((tmp_path / "figures").read_text().splitlines()[1])["benchmark"] == "b"


def test_of_many_measurements_the_extremes_are_left_out() -> None:
    assert "1,000" not in spread([1.0] * 39 + [1000.0], "ms")
    assert spread([2.0], "ms") == "2.00 ms"


def test_what_is_used_and_given_back_is_no_growth_and_a_slow_leak_is() -> None:
    minutes = [float(minute) for minute in range(105)]
    saw = [80.0 + minute % 10 for minute in minutes]
    assert not trend(minutes, saw).grows(1.0)
    assert trend(
        minutes, [base + minute / 20 for minute, base in zip(minutes, saw, strict=True)]
    ).grows(1.0)
    assert not trend(minutes, [80.0 + minute / 200 for minute in minutes]).grows(1.0)
