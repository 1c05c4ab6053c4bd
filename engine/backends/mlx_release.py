"""What differs between the releases of mlx-lm this program works with: 0.31 and 0.32.

A runtime may hold another release than the one installed here; what it has is looked at, rather
than its version number, so that a release in between or a later one is taken as it is.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engine.backends.base import LoadError

OLDEST = "0.31"


def _generate() -> Any:
    # The package has a function of the same name, which an import statement would give.
    return importlib.import_module("mlx_lm.generate")


def too_old() -> str:
    """Why the mlx-lm of this interpreter cannot serve, or empty. mlx-lm must be importable."""
    batch: Any = getattr(_generate(), "BatchGenerator", None)
    known = set(inspect.signature(batch.insert).parameters) if batch is not None else set()
    if "all_tokens" in known and {"stop_sequences", "state_machines"} & known:
        return ""
    return f"this mlx-lm cannot batch as this program needs it; mlx-lm {OLDEST} can"


def load_model(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Read a model lazily, without running a file of its folder.

    Raises:
        LoadError: the folder names code to be run, and this mlx-lm would run it unasked.
        Exception: whatever mlx-lm says of a folder it cannot use.
    """
    from mlx_lm import utils

    if "trust_remote_code" in inspect.signature(utils.load_model).parameters:
        model, config = utils.load_model(folder, lazy=True, trust_remote_code=False)
        return model, config
    # The gate has refused such folders; this is the last look before code would run.
    if utils.load_config(folder).get("model_file") is not None:
        raise LoadError("SecurityError: config.json names a model_file, which is never run")
    model, config = utils.load_model(folder, lazy=True)
    return model, config


def endings() -> tuple[str, Callable[[Iterable[int]], Any]]:
    """How a batch is told which tokens end a text: the argument's name, and what makes it."""
    generate = _generate()
    if hasattr(generate, "StopSequences"):
        return "stop_sequences", lambda ends: generate.StopSequences([[end] for end in ends])

    def machine(ends: Iterable[int]) -> Any:
        transitions = [((end,), None) for end in ends]
        states = {"normal": transitions} if transitions else {}
        return generate.SequenceStateMachine(states, initial="normal")

    return "state_machines", machine


def greedy_sampler() -> Callable[[Any], Any]:
    """The one function that draws the likeliest token, for every request that wants it."""
    import mlx.core as mx
    from mlx_lm import sample_utils

    own: Callable[[Any], Any] | None = getattr(sample_utils, "greedy_sampler", None)
    return own or _GREEDY.setdefault("argmax", lambda logprobs: mx.argmax(logprobs, axis=-1))


_GREEDY: dict[str, Callable[[Any], Any]] = {}
"""Kept, because requests that share one sampler are drawn in one call."""
