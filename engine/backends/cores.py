"""How many threads a decode is worth on this machine."""

import ctypes
import os
import sys
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


def compute_threads() -> int:
    """Physical cores this process may use; on Apple silicon the fast ones.

    Two threads on one core slow a decode down, and so does one slow core that all others wait for.
    """
    if sys.platform == "darwin":
        return _fast_cores() or os.cpu_count() or 1
    try:
        usable = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    try:
        # Hyper-threads of one core name the same siblings.
        return len({_siblings(cpu) for cpu in usable}) or 1
    except OSError:
        return len(usable) or 1


def _siblings(cpu: int) -> str:
    return (_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()


def _fast_cores() -> int:
    count = ctypes.c_int(0)
    size = ctypes.c_size_t(ctypes.sizeof(count))
    name = b"hw.perflevel0.physicalcpu"
    try:
        failed = ctypes.CDLL(None).sysctlbyname(
            name, ctypes.byref(count), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
    except (AttributeError, OSError):
        return 0
    return 0 if failed else count.value
