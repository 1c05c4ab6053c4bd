"""What a process is to whoever looks from outside."""

import psutil


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for somebody to collect its status."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
