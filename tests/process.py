"""What a process is to whoever looks from outside."""

import psutil


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for somebody to collect its status."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty for one that has ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def workers_below(process: psutil.Process) -> list[psutil.Process]:
    """The worker processes under one, at any depth; none where it has ended meanwhile."""
    try:
        below = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in below if "engine.workers.child" in command_of(child)]
