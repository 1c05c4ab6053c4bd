"""Where models are looked for: the Hugging Face cache, LM Studio's folder, the operator's folders
and the engine's own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.settings import Settings

MODELS = "models"
"""The folder below the home that the engine itself builds models into."""


@dataclass(frozen=True, slots=True)
class Root:
    """One place to look. ``named`` ones were asked for by an operator and must be there."""

    path: Path
    kind: str
    """``hf``, ``lmstudio``, ``folder`` or ``home``, as in ``CatalogEntry.root_kind``."""
    named: bool = False


def _expand(path: str | Path) -> Path:
    try:
        return Path(os.path.expandvars(path)).expanduser().absolute()
    except RuntimeError:  # a home of a user that does not exist
        return Path(path).absolute()


def hugging_face(environment: Mapping[str, str]) -> Root:
    """The hub cache, as ``huggingface_hub`` finds it: HF_HUB_CACHE, its older name, HF_HOME,
    XDG_CACHE_HOME, then ``~/.cache/huggingface/hub``."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Root(_expand(environment[name]), "hf", named=True)
    if environment.get("HF_HOME"):
        return Root(_expand(environment["HF_HOME"]) / "hub", "hf")
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Root(_expand(cache) / "huggingface" / "hub", "hf")


def lm_studio() -> tuple[Root, ...]:
    """LM Studio's model folder of today and the one of its older versions."""
    places = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
    return tuple(Root(_expand(place), "lmstudio") for place in places)


def models_folder(settings: Settings) -> Path:
    """The engine's own model folder."""
    return settings.home.expanduser().absolute() / MODELS


def roots(settings: Settings, environment: Mapping[str, str] | None = None) -> tuple[Root, ...]:
    """Every place to look, in the order in which models take their plain names.

    Args:
        environment: Instead of ``os.environ``.
    """
    environment = os.environ if environment is None else environment
    found: list[Root] = []
    if settings.hf_cache is not None:
        found.append(Root(_expand(settings.hf_cache), "hf", named=True))
    else:
        found.append(hugging_face(environment))
    if settings.lmstudio is not None:
        found.append(Root(_expand(settings.lmstudio), "lmstudio", named=True))
    else:
        found.extend(lm_studio())
    found.extend(Root(_expand(folder), "folder", named=True) for folder in settings.folders)
    found.append(Root(models_folder(settings), "home"))
    return tuple(dict.fromkeys(found))
