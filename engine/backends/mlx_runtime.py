"""The MLX libraries, imported with the process prepared for what their import does to it."""

import importlib.metadata
import os
import resource
from typing import Any

from engine.backends import footprint

_FILES_WANTED = 4096
"""Open files enough for the largest sharded model; macOS starts a process with 256."""
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def import_mlx() -> None:
    """Import mlx, mlx-lm and transformers, offline, and keep the limit on open files sane.

    mlx-lm sets that limit as it is imported: it lowers a higher hard limit for good, and fails to
    import at all where the hard limit is lower (facts, row 57). Here the soft limit is raised as
    far as it may be, and mlx-lm's own call has no effect.
    """
    os.environ.update(_SETTINGS)
    setrlimit = resource.setrlimit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit = _leave_limits
    try:
        import mlx_lm.generate
        import mlx_lm.utils  # noqa: F401
    finally:
        resource.setrlimit = setrlimit


def _leave_limits(_which: int, _limits: tuple[int, int]) -> None:
    return None


def backend_version() -> str:
    """The versions as they stand in the registry: ``mlx-lm 0.32.2, mlx 0.32.4``."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mlx-lm", "mlx"))


def on_gpu() -> bool:
    """Whether MLX computes on a GPU."""
    import mlx.core as mx

    return bool(mx.default_device() == mx.Device(mx.gpu))


def device() -> str:
    """``cpu``, or ``gpu: `` and the device's name."""
    import mlx.core as mx

    if not on_gpu():
        return "cpu"
    figures: dict[str, Any] = mx.device_info()
    return f"gpu: {figures.get('device_name', 'unnamed')}"


def memory_bytes() -> int:
    """What this process holds: resident memory, and what MLX holds on the GPU."""
    import mlx.core as mx

    resident = footprint.resident_bytes()
    if not on_gpu():
        return resident  # there MLX's memory is ordinary memory and already counted
    return int(resident + mx.get_active_memory() + mx.get_cache_memory())


def release_memory() -> None:
    """Give back what MLX keeps for reuse."""
    import mlx.core as mx

    mx.clear_cache()
