"""Sizes stated on the command line: a wrong one is a usage error, never a reservation."""

import argparse

import pytest

from console.cli.gigabytes import gigabytes


def test_a_size() -> None:
    assert gigabytes("1.5") == 1.5


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "1e999", "much", ""])
def test_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        gigabytes(text)
