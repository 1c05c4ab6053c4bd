"""What the backend of this interpreter can run, asked of the backend itself. Runs in a child.

``python -P -m engine.backends.support gguf llama pre:gpt-4o`` prints one JSON object on standard
output. A question is the name of an architecture, ``pre:NAME`` for a GGUF pre-tokenizer,
``vocabulary:MODEL`` for a GGUF tokenizer, ``tokenizer:CLASS`` for a tokenizer class of the
transformers library, ``split:ARCHITECTURE`` whether a model can be split among ranks and
``repeat:ARCHITECTURE`` whether one key-value head may go to several; the only question
``--versions`` is answered without importing the backend. No file of a user is opened:
llama.cpp is given headers made here, mlx-lm is asked for its modules. Needs nothing but the
standard library and the backend, so it runs in any interpreter a runtime names.
"""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import struct
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

VERSIONS = "--versions"
_PACKAGES = {"gguf": ("llama-cpp-python",), "mlx": ("mlx-lm", "mlx")}
_MODULE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_STRING, _ARRAY = 8, 9  # GGUF value types
_WARNING = 3  # GGML_LOG_LEVEL_WARN and everything worse


def backend_version(backend: str) -> str:
    """The versions as the registry writes them, read without importing the backend.

    Raises:
        importlib.metadata.PackageNotFoundError: a package is not installed.
    """
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES[backend])


# -- llama.cpp ----------------------------------------------------------------------------------


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _value(value: bytes | list[bytes]) -> bytes:
    if isinstance(value, bytes):
        return struct.pack("<I", _STRING) + _string(value)
    body = b"".join(_string(item) for item in value)
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + body


def synthetic_header(pairs: Mapping[str, bytes | list[bytes]]) -> bytes:
    """A GGUF of version 3 that holds these keys and no tensor."""
    body = b"".join(_string(key.encode()) + _value(value) for key, value in pairs.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body


def architecture_header(name: str) -> bytes:
    """A header that names an architecture and nothing else."""
    return synthetic_header({"general.architecture": name.encode("utf-8", "replace")})


def pre_tokenizer_header(name: str) -> bytes:
    """The smallest header with which llama.cpp gets as far as its pre-tokenizer's name."""
    return synthetic_header(
        {
            "general.architecture": b"llama",
            "tokenizer.ggml.model": b"gpt2",
            "tokenizer.ggml.pre": name.encode("utf-8", "replace"),
            "tokenizer.ggml.tokens": [b"a", b"b", b"\xc4\x8a"],
            "tokenizer.ggml.merges": [b"a b"],
        }
    )


def vocabulary_header(model: str) -> bytes:
    """The smallest header with which llama.cpp gets as far as its tokenizer's name."""
    return synthetic_header(
        {
            "general.architecture": b"llama",
            "tokenizer.ggml.model": model.encode("utf-8", "replace"),
            "tokenizer.ggml.tokens": [b"a"],
        }
    )


def _ask_llama(questions: list[str]) -> dict[str, object]:
    from llama_cpp import llama_cpp as native

    lines: list[bytes] = []

    @native.llama_log_callback  # type: ignore[untyped-decorator]
    def listen(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level >= _WARNING:
            lines.append(text)

    native.llama_log_set(listen, ctypes.c_void_p(0))
    native.llama_backend_init()
    # vocab_only stops before any weight; no_alloc would abort the process.
    parameters = native.llama_model_default_params()
    parameters.vocab_only = True
    parameters.use_mmap = False
    answers: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "question.gguf"
        for question in questions:
            kind, _, name = question.rpartition(":")
            if kind == "split":
                answers[question] = bool(native.llama_supports_rpc())
                continue
            if kind == "pre":
                header, refusal = pre_tokenizer_header(name), b"unknown pre-tokenizer type"
            elif kind == "vocabulary":
                header, refusal = vocabulary_header(name), b"unknown tokenizer"
            else:
                header, refusal = architecture_header(question), b"unknown model architecture"
            path.write_bytes(header)
            lines.clear()
            model = native.llama_model_load_from_file(os.fsencode(path), parameters)
            if model:
                native.llama_model_free(model)
            answers[question] = not any(refusal in line for line in lines)
    return {"supports": answers, "ggml_types": getattr(native, "GGML_TYPE_COUNT", None)}


# -- mlx-lm -------------------------------------------------------------------------------------


def _model_of(module_name: str) -> Any:
    """mlx-lm's module for a model type, or None where it has none."""
    name = f"mlx_lm.models.{module_name}"
    # A dotted or missing name is no module; a helper module has no Model (facts, row 4).
    if not _MODULE_NAME.fullmatch(module_name) or "." in module_name:
        return None
    if importlib.util.find_spec(name) is None:
        return None
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if hasattr(module, "Model") and hasattr(module, "ModelArgs") else None


def _repeats(code: CodeType) -> bool:
    """Whether ``shard`` has a place where it repeats weights: nothing else tells that a runtime
    lets several ranks share a key-value head."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return "repeat" in code.co_names or any(_repeats(one) for one in inner)


def _splits(kind: str, module: Any) -> bool:
    shard = getattr(module.Model, "shard", None) if module is not None else None
    if kind == "split" or shard is None:
        return shard is not None
    return _repeats(shard.__code__)


def _requires(module: Any) -> list[str]:
    """The keys of a config.json without which mlx-lm cannot build this model.

    Only where its arguments are taken from the config as they are: a class that reads them in a
    way of its own (``from_dict``) may do without any of them.
    """
    from mlx_lm.models.base import BaseModelArgs

    read = getattr(module.ModelArgs, "from_dict", None)
    if getattr(read, "__func__", None) is not BaseModelArgs.from_dict.__func__:
        return []
    fields = inspect.signature(module.ModelArgs).parameters.values()
    return [f.name for f in fields if f.default is f.empty and f.kind is f.POSITIONAL_OR_KEYWORD]


def _ask_mlx(questions: list[str]) -> dict[str, object]:
    import mlx.core
    from mlx_lm import utils

    from engine.backends.mlx_release import too_old

    if trouble := too_old():
        return {"error": trouble}
    remapping: dict[str, str] = utils.MODEL_REMAPPING
    by_class: dict[tuple[str, str], str] = getattr(utils, "MODEL_ARCHITECTURE_REMAPPING", {})
    answers: dict[str, bool] = {}
    requires: dict[str, list[str]] = {}
    for question in questions:
        kind, _, name = question.rpartition(":")
        if kind == "tokenizer":
            answers[question] = _has_tokenizer(name)
            continue
        model_type, _, class_name = name.partition("/")
        module_name = by_class.get((model_type, class_name)) or remapping.get(
            model_type, model_type
        )
        module = _model_of(module_name)
        if kind:
            answers[question] = _splits(kind, module)
            continue
        answers[question] = module is not None
        if module is not None and (needed := _requires(module)):
            requires[question] = needed
    return {
        "supports": answers,
        "requires": requires,
        "device": str(mlx.core.default_device()),
        "working_set": _working_set(mlx.core),
    }


def _working_set(core: Any) -> int | None:
    """Bytes the GPU may keep resident without swapping its buffers out; None on a CPU.

    Metal's ``recommendedMaxWorkingSetSize``, which follows the ``iogpu.wired_limit_mb`` of macOS.
    """
    if core.default_device() != core.Device(core.gpu):
        return None
    # Older versions tell it of Metal only.
    figures = core.device_info() if hasattr(core, "device_info") else core.metal.device_info()
    limit = figures.get("max_recommended_working_set_size")
    return int(limit) if limit else None


def _has_tokenizer(class_name: str) -> bool:
    try:
        from transformers.models.auto import tokenization_auto as auto

        find: Any = getattr(auto, "tokenizer_class_from_name", None)
        return find is not None and find(class_name) is not None
    except ImportError:
        return False


# -- the child ----------------------------------------------------------------------------------


def answer(backend: str, questions: list[str]) -> dict[str, object]:
    """Everything asked about one backend, ready for JSON; trouble stands in ``error``.

    With no questions the backend is imported all the same: whether it can be is the answer.
    ``--versions`` as the only question asks for the version alone and imports nothing.
    """
    try:
        version = backend_version(backend)
    except importlib.metadata.PackageNotFoundError as error:
        return {"version": "", "error": f"{error.name} is not installed"}
    if importlib.util.find_spec("pydantic") is None:
        return {"version": version, "error": "pydantic is not installed; a worker needs it"}
    if questions == [VERSIONS]:
        return {"version": version, "error": "", "supports": {}}
    try:
        asked = _ask_llama(questions) if backend == "gguf" else _ask_mlx(questions)
    except Exception as error:  # a backend may fail to import in any way it likes
        return {"version": version, "error": f"{type(error).__name__}: {error}"}
    return {"version": version, "error": "", **asked}


def main(arguments: list[str]) -> int:
    """Print the answer as one line of JSON; nothing else reaches standard output."""
    if len(arguments) < 1 or arguments[0] not in _PACKAGES:
        print("usage: engine.backends.support gguf|mlx [QUESTION…]", file=sys.stderr)
        return 2
    # Native libraries print where they like; the answer alone keeps the real standard output.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with out:
        out.write(json.dumps(answer(arguments[0], arguments[1:])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
