"""mlx-lm's tool-call parsers, without mlx-lm.

A plain ``import mlx_lm.tool_parsers`` runs ``mlx_lm/__init__.py``, which pulls in mlx and
transformers, and the process that holds the console never holds those. The parsers themselves need
only the standard library and ``regex``, so their folder is loaded as a package of another name.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "mlx_lm_tool_parsers"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Foreign(NamedTuple):
    """One of mlx-lm's parsers."""

    start: str
    end: str
    """Empty where the format has no end marker."""
    parse: Callable[[str], object]
    """Reads what stands between the markers; raises anything at all."""


@cache
def _folder() -> Path | None:
    # Finding a top-level package reads its location and runs nothing of it.
    spec = importlib.util.find_spec("mlx_lm")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, "tool_parsers")
        if folder.is_dir():
            return folder
    return None


def _open_package(folder: Path) -> None:
    if _PACKAGE not in sys.modules:
        spec = ModuleSpec(_PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)


@cache
def foreign_parser(name: str) -> Foreign | None:
    """The parser of this name, or None where mlx-lm is missing, too old or knows no such name.

    Args:
        name: As a model's template or a ``simulated.json`` says it; it may be anything.
    """
    folder = _folder()
    if folder is None or _NAME.fullmatch(name) is None or not (folder / f"{name}.py").is_file():
        return None
    _open_package(folder)
    try:
        module = importlib.import_module(f"{_PACKAGE}.{name}")
        start, end, parse = module.tool_call_start, module.tool_call_end, module.parse_tool_call
    except Exception:
        # A broken or half-installed mlx-lm costs its formats, not the answer.
        return None
    return Foreign(start, end or "", parse) if start else None
