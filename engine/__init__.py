"""The engine's face: what a console, a test or a server may import.

Imports lazily (PEP 562), because every worker passes through this file on its way to
``engine.workers.child`` and needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.address import Address, parse_address
    from engine.cluster.ray_cluster import RayCluster
    from engine.engine import Engine
    from engine.errors import Code, Decision, EngineError
    from engine.face import (
        ApiFace,
        Call,
        Chance,
        ChatDelta,
        ChatEnd,
        ChatOptions,
        ChatStream,
        ChatTurn,
        Desk,
        EngineFace,
        FaceMismatch,
        Lane,
        LoadOptions,
        OutOfReach,
    )
    from engine.fleet.member import ClusterTrouble
    from engine.home.home import HomeTaken, HomeUnusable, check_home, read_engine
    from engine.home.place import default_home
    from engine.http.keys import KeyTrouble, read_key
    from engine.http.server import ApiServer
    from engine.http.trouble import ApiMisconfigured, ApiTrouble
    from engine.inspection import Inspection
    from engine.ledger.archive import Archive, ArchiveTrouble, Merged, Verified
    from engine.lives.figures import PerformanceView
    from engine.memory import Memory
    from engine.registry import RegistryTrouble, Tally
    from engine.remote.face import RemoteEngine
    from engine.remote.link import Link
    from engine.remote.watcher import check_face
    from engine.requests.manner import with_defaults
    from engine.settings import Settings, SettingsError, load_settings
    from engine.text import clean, clean_line
    from engine.trials.trial import Outcome, Trial, Trials
    from engine.types import (
        Backend,
        CanaryStep,
        CanaryView,
        Check,
        CheckResult,
        ClientView,
        EngineSnapshot,
        Event,
        Evidence,
        Explanation,
        HostState,
        HostView,
        MemoryEstimate,
        MemoryView,
        ModelView,
        Notice,
        QuarantineView,
        Readiness,
        RegistryRow,
        RequestView,
        RuntimeView,
        StepResult,
        Transition,
    )

_ROOMS = {
    "engine.address": ("Address", "parse_address"),
    "engine.ledger.archive": ("Archive", "ArchiveTrouble", "Merged", "Verified"),
    "engine.cluster.ray_cluster": ("RayCluster",),
    "engine.fleet.member": ("ClusterTrouble",),
    "engine.engine": ("Engine",),
    "engine.errors": ("Code", "Decision", "EngineError"),
    "engine.face": (
        "ApiFace",
        "Call",
        "Chance",
        "ChatDelta",
        "ChatEnd",
        "ChatOptions",
        "ChatStream",
        "ChatTurn",
        "Desk",
        "EngineFace",
        "FaceMismatch",
        "Lane",
        "LoadOptions",
        "OutOfReach",
    ),
    "engine.lives.figures": ("PerformanceView",),
    "engine.home.home": ("HomeTaken", "HomeUnusable", "check_home", "read_engine"),
    "engine.http.keys": ("KeyTrouble", "read_key"),
    "engine.http.server": ("ApiServer",),
    "engine.http.trouble": ("ApiMisconfigured", "ApiTrouble"),
    "engine.inspection": ("Inspection",),
    "engine.remote.face": ("RemoteEngine",),
    "engine.remote.link": ("Link",),
    "engine.remote.watcher": ("check_face",),
    "engine.requests.manner": ("with_defaults",),
    "engine.memory": ("Memory",),
    "engine.home.place": ("default_home",),
    "engine.registry": ("RegistryTrouble", "Tally"),
    "engine.settings": ("Settings", "SettingsError", "load_settings"),
    "engine.text": ("clean", "clean_line"),
    "engine.trials.trial": ("Outcome", "Trial", "Trials"),
    "engine.types": (
        "Backend",
        "CanaryStep",
        "CanaryView",
        "Check",
        "CheckResult",
        "ClientView",
        "EngineSnapshot",
        "Event",
        "Evidence",
        "Explanation",
        "HostState",
        "HostView",
        "MemoryEstimate",
        "MemoryView",
        "ModelView",
        "Notice",
        "QuarantineView",
        "Readiness",
        "RegistryRow",
        "RequestView",
        "RuntimeView",
        "StepResult",
        "Transition",
    ),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Address",
    "ApiFace",
    "ApiMisconfigured",
    "ApiServer",
    "ApiTrouble",
    "Archive",
    "ArchiveTrouble",
    "Backend",
    "Call",
    "CanaryStep",
    "CanaryView",
    "Chance",
    "ChatDelta",
    "ChatEnd",
    "ChatOptions",
    "ChatStream",
    "ChatTurn",
    "Check",
    "CheckResult",
    "ClientView",
    "ClusterTrouble",
    "Code",
    "Decision",
    "Desk",
    "Engine",
    "EngineError",
    "EngineFace",
    "EngineSnapshot",
    "Event",
    "Evidence",
    "Explanation",
    "FaceMismatch",
    "HomeTaken",
    "HomeUnusable",
    "HostState",
    "HostView",
    "Inspection",
    "KeyTrouble",
    "Lane",
    "Link",
    "LoadOptions",
    "Memory",
    "MemoryEstimate",
    "MemoryView",
    "Merged",
    "ModelView",
    "Notice",
    "OutOfReach",
    "Outcome",
    "PerformanceView",
    "QuarantineView",
    "RayCluster",
    "Readiness",
    "RegistryRow",
    "RegistryTrouble",
    "RemoteEngine",
    "RequestView",
    "RuntimeView",
    "Settings",
    "SettingsError",
    "StepResult",
    "Tally",
    "Transition",
    "Trial",
    "Trials",
    "Verified",
    "check_face",
    "check_home",
    "clean",
    "clean_line",
    "default_home",
    "load_settings",
    "parse_address",
    "read_engine",
    "read_key",
    "with_defaults",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
