"""What this process holds in memory, as the system counts it."""

import os
import resource
import sys
from pathlib import Path


def resident_bytes() -> int:
    """Bytes resident now, mapped model files included; on macOS the most there ever were."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
