"""What the gate is told about the world: host, runtime, ledger and room.

The gate asks nobody. Whoever calls it hands over these answers, so the same facts and the same
files give the same decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.admission.signatures import Signature
from engine.errors import Decision
from engine.types import Key, RegistryRow


def _not_known(_: str) -> bool | None:
    return None


def _nothing_required(_: str) -> tuple[str, ...]:
    return ()


def _not_quarantined(_key: Key, _model_id: str) -> Decision | None:
    return None


def _never_tried(_: Key) -> RegistryRow | None:
    return None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the gate may rely on besides the model's own files.

    Sizes are bytes. The defaults describe an engine that has asked nothing and promised nothing:
    what is not known never blocks, except room, which is never assumed.
    """

    runtime: str = "default"
    """The runtime's name, as in the settings."""
    backend_version: str = ""
    """As it stands in the registry, such as ``mlx-lm 0.32.2, mlx 0.32.4``."""
    backend_error: str = ""
    """Why this backend cannot be used on this host at all; empty when it can."""
    supports: Callable[[str], bool | None] = _not_known
    """What the runtime answered to one of :func:`engine.admission.questions.questions`; None
    while it has not been asked."""
    requires: Callable[[str], tuple[str, ...]] = _nothing_required
    """The keys of a config.json without which the runtime cannot build an architecture, which is
    asked for as in ``supports``."""
    ggml_types: int | None = None
    """How many GGML tensor types this llama.cpp knows (GGML_TYPE_COUNT)."""
    quarantined: Callable[[Key, str], Decision | None] = _not_quarantined
    """The refusal for a quarantined key or a held model id, or None."""
    verdict: Callable[[Key], RegistryRow | None] = _never_tried
    """The newest canary or quarantine row of this key, or None: never tried here."""
    signatures: tuple[Signature, ...] = ()
    budget: int = 0
    """Memory the engine may use in all."""
    reserved: int = 0
    """Promised to other models already."""
    lost: int = 0
    """Not given back by workers that have ended."""
    device_limit: int | None = None
    """What the runtime's device can hold in all, where it has a limit of its own (the working set
    of a GPU)."""
    available: int = 0
    """Free on the machine now, file cache counted as free; 0 when not known."""
    elsewhere: int = 0
    """Room on other hosts, for ranks of a model that is split."""
    context: int = 4096
    """Context length where the load names none."""
    slots: int = 4
    fingerprint: str = ""
    """The entry's fingerprint when the caller has it; empty lets the gate compute it."""
    stamp: str = ""
    """The entry's :func:`engine.catalog.fingerprint.stamp` now; empty where nobody took it."""
    roots: tuple[Path, ...] = ()
    """Folders, besides the entry's own root, that a symlink may lead into."""
