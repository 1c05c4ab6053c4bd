"""Settings of an engine that sees nothing of the machine it runs on but one folder."""

from pathlib import Path
from typing import Any

from engine import Settings, load_settings


def private(root: Path, *, models: str = "models", **own: Any) -> Settings:
    """A home of its own and the models of one folder in ``root``; no starter and no spare worker.

    Args:
        models: The folder's name.
        own: What else is set.
    """
    return load_settings(
        home=root / "home",
        folders=(root / models,),
        hf_cache=root / "none",
        lmstudio=root / "none",
        starter=False,
        spare=False,
        **own,
    )
