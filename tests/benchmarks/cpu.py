"""Processor time of another process, finer than the hundredths of a second ``ps`` counts in."""

import platform
import time

import psutil


def cpu_s(pid: int) -> float:
    """Seconds of processor time a process has taken, its ended children not counted."""
    if platform.system() == "Linux":
        # The kernel's clock of a process: its number inverted, and 2 for the scheduler's own count.
        return time.clock_gettime((~pid << 3) | 2)
    return float(sum(psutil.Process(pid).cpu_times()[:2]))
