"""Sizes as an operator states them on the command line."""

import argparse
import math


def gigabytes(text: str) -> float:
    """A size in GB, above 0 and finite; for ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: it is none, which ends the command with its usage.
    """
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not math.isfinite(size) or size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size in GB above 0")
    return size
