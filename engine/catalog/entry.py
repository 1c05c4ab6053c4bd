"""One model on disk, as the catalog lists it: found, not yet judged."""

from dataclasses import dataclass
from pathlib import Path

from engine.types import Backend


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model file or folder with the name it goes by.

    Reading an entry costs a directory listing and one bounded header; whether the model is any
    good is for admission to say, so a damaged file is listed too, with what could be read of it.
    """

    id: str
    path: Path
    """Absolute: the GGUF file (first split), or the folder of an MLX or simulated model."""
    backend: Backend
    root: Path
    """The folder symlinks may not lead out of."""
    root_kind: str
    """``folder``, ``hf``, ``lmstudio``, ``starter`` or ``home``."""
    weight_bytes: int = 0
    architecture: str = ""
    quantisation: str = ""
    context_trained: int | None = None
    simulated_version: str = ""
    """``backend_version`` of a simulated model, else empty."""
    build_from: Path | None = None
    """Set while the model must be built first: the MLX starter's GGUF."""
    own_id: str = ""
    """The id its host's own scan gave it, where the engine calls it otherwise."""

    @property
    def plain(self) -> str:
        """The id its host gives it, which is what settings speak of."""
        return self.own_id or self.id
