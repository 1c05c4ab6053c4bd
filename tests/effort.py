"""How hard the searching tests search: a share by default, all of it with ``LMX_TEST_EFFORT=full``.

Each of them is a search without end; what it found once is kept as a case of its own, which is
tried always.
"""

import os

FULL = os.environ.get("LMX_TEST_EFFORT") == "full"
_SHARE = 3


def examples(full: int) -> int:
    """How many examples to try where ``full`` would be a long search."""
    return full if FULL else full // _SHARE


def stride(full: int) -> int:
    """How far apart to look where ``full`` is the step of a close search."""
    return full if FULL else full * _SHARE
