"""The memory budget: what the engine may use and what it has promised to each model."""

import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, SubprocessError, run

import psutil

from engine.errors import Code, Decision, refuse
from engine.text import clean_line
from engine.types import MemoryView

SHARE = 0.8
"""Part of the machine's memory the engine may use where the settings name none."""
WORKING_SET_SHARE = 0.75
"""What Apple silicon lets the GPU hold where ``iogpu.wired_limit_mb`` is 0 (Metal's
``recommendedMaxWorkingSetSize`` on machines above 36 GB)."""
_CGROUPS = Path("/sys/fs/cgroup")
_NAMED = 5


def gigabytes(size: float) -> str:
    """A size for people, decimal, with a precision that fits it."""
    if size < 1e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.0f} GB" if size >= 100e9 else f"{size / 1e9:.1f} GB"


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of this machine or, in a container, of this container; in bytes."""

    total: int
    available: int
    """Free, with file cache counted as free."""


def machine_memory(cgroups: Iterable[Path] | None = None) -> Memory:
    """Measure it; a cgroup's limit counts as the machine's size.

    Args:
        cgroups: The folders of this process's cgroup and those above it; None looks them up.
    """
    system = psutil.virtual_memory()
    total, available = int(system.total), int(system.available)
    for folder in cgroup_folders() if cgroups is None else cgroups:
        limit = _number(folder / "memory.max")
        if limit is None or limit >= total:
            continue
        used = _number(folder / "memory.current") or 0
        free = limit - used + _file_cache(folder)
        total, available = limit, min(available, max(free, 0))
    return Memory(total, min(available, total))


def cgroup_folders(proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> Iterable[Path]:
    """This process's cgroup (v2) and every one above it; the tightest limit holds."""
    try:
        lines = proc.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    for line in lines:
        if line.startswith("0::"):
            here = root / line[3:].strip().lstrip("/")
            return [f for f in (here, *here.parents) if f == root or root in f.parents]
    return []


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None  # no such controller, or "max": no limit


def _file_cache(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text("ascii").splitlines()
        figures = dict(line.split() for line in lines)
        return int(figures.get("inactive_file", 0)) + int(figures.get("active_file", 0))
    except (OSError, ValueError):
        return 0


def wired_limit() -> int:
    """What ``iogpu.wired_limit_mb`` lets a GPU keep on Apple silicon, in bytes; 0 where it is left
    to the system, and elsewhere."""
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return 0
    try:
        command = ["/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb"]
        said = run(command, stdin=DEVNULL, capture_output=True, timeout=5, check=True)
        return int(said.stdout) * 1024 * 1024
    except (OSError, SubprocessError, ValueError):
        return 0


def working_set_limit(total: int) -> int | None:
    """What the device lets one hold on Apple silicon, in bytes; None elsewhere.

    A first bound for every backend; what the device itself says is asked in a child, and bounds
    the loads of MLX.
    """
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return None
    return wired_limit() or int(total * WORKING_SET_SHARE)


def default_budget(memory_gb: float | None = None) -> int:
    """The budget in bytes: the operator's own figure, or a share of the machine's memory bounded
    by what the device can hold."""
    if memory_gb is not None:
        return int(memory_gb * 1e9)
    total = machine_memory().total
    limit = working_set_limit(total)
    budget = int(total * SHARE)
    return budget if limit is None else min(budget, limit)


class Budget:
    """Reservations against the budget. Two loads at once cannot both take the last gigabytes.

    Args:
        total_bytes: The whole budget.
        available: The machine's free memory in bytes, file cache counted as free.
    """

    def __init__(self, total_bytes: int, available: Callable[[], int]) -> None:
        self.total = total_bytes
        self._available = available
        self._mutex = threading.Lock()
        self._reserved: dict[str, int] = {}
        self._measured: dict[str, int] = {}
        self._lost = 0

    @property
    def lost(self) -> int:
        """Bytes that ended workers have not given back."""
        return self._lost

    def lose(self, size: int) -> None:
        """Count so many bytes as taken by nobody: they did not come back; 0 once they have."""
        self._lost = size

    @property
    def reserved(self) -> Mapping[str, int]:
        """What each model was promised, in bytes."""
        with self._mutex:
            return dict(self._reserved)

    def check(self, model_id: str, size: int, limit: int | None = None) -> Decision | None:
        """Whether ``size`` bytes could be reserved now: None, or the refusal. Reserves nothing."""
        with self._mutex:
            return self._refusal(model_id, size, limit)

    def reserve(self, model_id: str, size: int, limit: int | None = None) -> Decision | None:
        """Promise ``size`` bytes to a model, instead of what it was promised before.

        Args:
            limit: What its device can hold of all that is promised, in bytes; None is no limit.

        Returns None when it is done; else why it cannot be, and nothing has changed.
        """
        with self._mutex:
            refusal = self._refusal(model_id, size, limit)
            if refusal is None:
                self._reserved[model_id] = size
            return refusal

    def release(self, model_id: str) -> None:
        """Take a promise back. Unknown models are ignored."""
        with self._mutex:
            self._reserved.pop(model_id, None)
            self._measured.pop(model_id, None)

    def measure(self, model_id: str, size: int) -> None:
        """Note what a model's worker really holds, in bytes; it is no longer in free memory."""
        with self._mutex:
            if model_id in self._reserved:
                self._measured[model_id] = size

    def _refusal(self, model_id: str, size: int, limit: int | None) -> Decision | None:
        total = self.total if limit is None else min(self.total, limit)
        others = {name: held for name, held in self._reserved.items() if name != model_id}
        in_budget = total - self._lost - sum(others.values())
        # What is promised to others and not yet taken will be taken out of free memory; what
        # this model's own worker already holds need not be found again.
        still_to_come = sum(max(h - self._measured.get(n, 0), 0) for n, h in others.items())
        own = self._measured.get(model_id, 0)
        on_machine = self._available() - still_to_come + own
        room = max(min(in_budget, on_machine), 0)
        if size <= room:
            return None
        name = clean_line(model_id)
        if in_budget <= on_machine:
            what = "budget" if total == self.total else "working set of the device"
            where = f"the {gigabytes(total)} {what}"
        else:
            where = "the machine's memory"
        holders = sorted(others.items(), key=lambda item: -item[1])
        held = ", ".join(f"{clean_line(n)} {gigabytes(h)}" for n, h in holders[:_NAMED])
        if len(holders) > _NAMED:
            held += f" and {len(holders) - _NAMED} more"
        if self._lost:
            where += f", of which {gigabytes(self._lost)} were not returned,"
        held_by = f"; {held} hold the rest" if len(holders) > 1 else f"; {held} holds the rest"
        return refuse(
            Code.INSUFFICIENT_MEMORY,
            f"{name} needs {gigabytes(size)}, and {where} has {gigabytes(room)} left"
            + (held_by if holders else ""),
            check="memory",
            expected=f"at most {gigabytes(room)}",
            found=gigabytes(size),
            remedy=self._remedy(others, size - room, fits=size <= total),
        )

    def _remedy(self, others: Mapping[str, int], missing: int, *, fits: bool) -> str:
        stated = "state a smaller reservation (reserve_gb) if you know better"
        if not fits:
            return f"it does not fit the budget even alone: use a smaller context, or {stated}"
        leave = must_go(others, missing)
        if not leave and self._lost:
            return f"reboot to get back what was not returned, use a smaller context, or {stated}"
        if not leave:
            return f"free memory outside the engine, use a smaller context, or {stated}"
        names = " and ".join(clean_line(name) for name in leave)
        return f"unload {names}, use a smaller context, or {stated}"

    def view(self, measured: int | None = None) -> MemoryView:
        """The budget as a screen shows it.

        Args:
            measured: What the workers hold, in bytes; None means the sum of what was noted.
        """
        with self._mutex:
            return MemoryView(
                budget=self.total,
                reserved=sum(self._reserved.values()),
                measured=sum(self._measured.values()) if measured is None else measured,
                available=self._available(),
            )


def must_go(reserved: Mapping[str, int], missing: int) -> tuple[str, ...]:
    """Which models would have to go for ``missing`` bytes: the smallest one that suffices, else
    the largest ones until it does. Empty when not even all of them would do."""
    if sum(reserved.values()) < missing:
        return ()
    enough = [item for item in reserved.items() if item[1] >= missing]
    if enough:
        return (min(enough, key=lambda item: item[1])[0],)
    names: list[str] = []
    for name, held in sorted(reserved.items(), key=lambda item: -item[1]):
        if missing <= 0:
            break
        names.append(name)
        missing -= held
    return tuple(names)
