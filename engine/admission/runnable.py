"""Can this backend run here, and can it run this format and quantisation."""

import re
from collections.abc import Iterator, Mapping

from engine.admission import answer
from engine.admission.folder_config import MODELOPT
from engine.admission.question import NAME, pre_tokenizer_question, vocabulary_question
from engine.admission.subject import NAMES_FOREIGN, Subject
from engine.catalog.ggml import TYPES
from engine.catalog.gguf import GgufHeader, GgufTensor
from engine.catalog.header import HeaderError
from engine.catalog.safetensors import SafetensorsTensor
from engine.errors import Code
from engine.types import Check

CHECK = "backend"
_EXPECTED = "a format and quantisation the backend runs on this host"
_F32 = 0
_NOT_MULTIPLIED = frozenset({9, 15, 24, 25, 26, 27, 28})
"""Q8_1 and Q8_K, in which llama.cpp keeps results on their way; I8 to I64; F64. No weight is
multiplied in these: its first computation is a segmentation fault (0.3.36)."""
_LEAST_ALIGNMENT = 32
"""ggml's TENSOR_ALIGNMENT: weights mapped at other addresses end it with an assertion."""
_FUSED = ("v.", "mm.")
"""How the tensors of a vision encoder begin. llama.cpp counts the tensors it knows and refuses a
file with more of them (row 5); such files are made for another program."""
_MULTIPLIED = re.compile(
    r"^(token_embd|output)\.weight$|\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down)(_exps)?)\.weight$"
)
_OVERRIDE = "use another quantisation of the model, or load with allow_unsupported_runtime"

# mlx 0.32's own lists (mx.quantize, mx.load); mlx-lm 0.32's quant methods (utils.load_model).
_AFFINE_BITS = frozenset({1, 2, 3, 4, 5, 6, 8})
_AFFINE_GROUPS = frozenset({32, 64, 128})
_MODES = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
_METHODS = frozenset({"bitnet", "mxfp4", "mxfp8", "fp8", "awq", "gptq"})
_COMPRESSED = frozenset({"nvfp4-pack-quantized", "mxfp4-pack-quantized", "pack-quantized"})
_NO_DTYPES = frozenset({"F64", "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})


def check(subject: Subject) -> Check:
    """Host first (a backend that cannot be imported runs nothing), then the format, then how the
    weights are stored."""
    facts = subject.facts
    if facts.backend_error:
        return answer.failed(
            CHECK,
            Code.MODEL_UNSUPPORTED_BACKEND,
            f"the {subject.entry.backend} backend cannot be used on this host: "
            f"{facts.backend_error}",
            expected=_EXPECTED,
            found=facts.backend_error,
            remedy="reinstall the backend for this machine; the model is not to blame",
        )
    if subject.is_simulated:
        return answer.passed(CHECK, _EXPECTED, "simulated")
    if subject.is_gguf:
        return _gguf(subject)
    return _folder(subject)


def _refused(message: str, found: str, remedy: str = _OVERRIDE) -> Check:
    return answer.failed(
        CHECK,
        Code.MODEL_UNSUPPORTED_BACKEND,
        message,
        expected=_EXPECTED,
        found=found,
        remedy=remedy,
        overridable=True,
    )


def _foreign(name: str, error: HeaderError) -> Check:
    """A whole file of another format or version. Not overridable: it cannot be shown to be whole,
    and no file is handed to a native parser unread."""
    return answer.failed(
        CHECK,
        Code.MODEL_UNSUPPORTED_BACKEND,
        f"{name} is not what this backend reads: {error.found}",
        expected=error.expected,
        found=error.found,
        remedy="use a version of the model in the format this backend reads",
    )


# -- GGUF ---------------------------------------------------------------------------------------


def _gguf(subject: Subject) -> Check:
    parts = ((subject.source.name, subject.header), *subject.splits)
    for name, header in parts:
        if isinstance(header, HeaderError) and header.kind in NAMES_FOREIGN:
            return _foreign(name, header)
    headers = [header for _, header in parts if not isinstance(header, HeaderError)]
    if not headers or len(headers) < len(parts):
        return answer.unknown(CHECK, _EXPECTED, "the header cannot be read")
    used = sorted({tensor.type_id for header in headers for tensor in header.tensors})
    names = ", ".join(TYPES[type_id].name if type_id in TYPES else str(type_id) for type_id in used)
    if subject.builds:
        return answer.passed(CHECK, _EXPECTED, f"{names}, to be built as 4-bit MLX")
    limit = subject.facts.ggml_types
    newer = [type_id for type_id in used if limit is not None and type_id >= limit]
    version = subject.facts.backend_version or "this llama.cpp"
    if newer:
        found = ", ".join(TYPES[t].name if t in TYPES else f"type {t}" for t in newer)
        return _refused(f"{version} does not know the tensor type {found}", found)
    tensors = [tensor for header in headers for tensor in header.tensors]
    return (
        _alignment(headers, version)
        or _odd_tensor(tensors, version)
        or _tokenizer(subject, version)
        or answer.passed(CHECK, _EXPECTED, names or "no tensors")
    )


def _alignment(headers: list[GgufHeader], version: str) -> Check | None:
    for header in headers:
        if header.tensors and header.alignment % _LEAST_ALIGNMENT:
            found = f"general.alignment {header.alignment}"
            message = f"{version} cannot map weights that are aligned to {header.alignment} bytes"
            return _refused(message, found)
    return None


def _odd_tensor(tensors: list[GgufTensor], version: str) -> Check | None:
    """A tensor that llama.cpp does not count with, or of a type it has no arithmetic for at its
    place: it loads the file, and its first computation ends the process."""
    for tensor in tensors:
        if tensor.name.startswith(_FUSED):
            message = f"{version} does not run a model with its vision encoder in the same file"
            return _refused(message, tensor.name)
        name = TYPES[tensor.type_id].name
        if tensor.name.endswith(("_norm.weight", ".bias")):
            bad = tensor.type_id != _F32
        else:
            bad = tensor.type_id in _NOT_MULTIPLIED and _MULTIPLIED.search(tensor.name) is not None
        if bad:
            message = f"{version} cannot compute with {tensor.name} stored as {name}"
            return _refused(message, f"{tensor.name}: {name}")
    return None


def _tokenizer(subject: Subject, version: str) -> Check | None:
    model = subject.metadata.get("tokenizer.ggml.model")
    if isinstance(model, str) and (question := vocabulary_question(model)):
        if not NAME.fullmatch(model):
            return _refused("its tokenizer has no proper name", repr(model)[:100])
        if subject.facts.supports(question) is False:
            return _refused(f"{version} does not know the tokenizer {model}", model)
    pre = subject.metadata.get("tokenizer.ggml.pre")
    if isinstance(pre, str) and (question := pre_tokenizer_question(pre, model)):
        if not NAME.fullmatch(pre):
            return _refused("its pre-tokenizer has no proper name", repr(pre)[:100])
        if subject.facts.supports(question) is False:
            return _refused(f"{version} does not know the pre-tokenizer {pre}", pre)
    return None


# -- safetensors --------------------------------------------------------------------------------


def _folder(subject: Subject) -> Check:
    dtypes: set[str] = set()
    for name, header in subject.shards.items():
        if not isinstance(header, HeaderError):
            dtypes |= {tensor.dtype for tensor in header.tensors}
        elif header.kind in NAMES_FOREIGN:
            return _foreign(name, header)
    if odd := sorted(dtypes & _NO_DTYPES):
        return _refused(f"MLX does not read weights of type {', '.join(odd)}", ", ".join(odd))
    block, legacy = subject.config.get("quantization"), _foreign_block(subject)
    names = {tensor.name for tensor in _tensors(subject)}
    if block is not None:
        return _native(block)
    if legacy:
        method = legacy.get("quant_method") if isinstance(legacy, Mapping) else None
        if method in ("awq", "gptq") and not any(name.endswith(".qweight") for name in names):
            return _refused(f"its config says {method}, and no weight is packed so", "no qweight")
        return _legacy(legacy)
    for tensor in _tensors(subject):
        stem = tensor.name.removesuffix(".weight")
        if tensor.dtype == "U32" and {f"{stem}.scales", f"{stem}.biases"} <= names:
            message = "its weights are quantised by MLX, and its config.json does not say how"
            return _refused(message, f"{tensor.name}, packed", "put back the whole config.json")
    return answer.passed(CHECK, _EXPECTED, ", ".join(sorted(dtypes)) or "no weights read")


def _foreign_block(subject: Subject) -> object:
    """What another tool says of its quantisation, looked for where mlx-lm looks for it."""
    config, text = subject.config, subject.config.get("text_config")
    if "quantization_config" in config:
        return config["quantization_config"]
    if isinstance(text, Mapping) and "quantization_config" in text:
        return text["quantization_config"]
    return subject.content(MODELOPT)


def _tensors(subject: Subject) -> Iterator[SafetensorsTensor]:
    for header in subject.shards.values():
        if not isinstance(header, HeaderError):
            yield from header.tensors


def _native(block: object) -> Check:
    """``quantization``: what MLX itself writes, for the whole model and for single layers."""
    if not isinstance(block, Mapping):
        return _refused("its quantization block is no object", type(block).__name__)
    layers = [value for value in block.values() if isinstance(value, Mapping)]
    for one in (block, *layers):
        if words := _bad_affine({"mode": block.get("mode"), **one}):
            return _refused(f"MLX does not run this quantisation: {words}", words)
    found = f"{block.get('bits')}-bit, groups of {block.get('group_size')}"
    return answer.passed(CHECK, _EXPECTED, found)


def _bad_affine(block: Mapping[object, object]) -> str:
    mode = block.get("mode") or "affine"
    bits, group = block.get("bits"), block.get("group_size")
    if not isinstance(bits, int) or not isinstance(group, int):
        return f"bits {bits!r}, group size {group!r}"
    if mode == "affine":
        good = bits in _AFFINE_BITS and group in _AFFINE_GROUPS
    else:
        good = isinstance(mode, str) and _MODES.get(mode) == (bits, group)
    return "" if good else f"{mode!s:.40} with {bits} bits in groups of {group}"


def _legacy(block: object) -> Check:
    """``quantization_config``: what other tools write, of which mlx-lm converts some on load."""
    if not isinstance(block, Mapping):
        return _refused("its quantization_config is no object", type(block).__name__)
    method = block.get("quant_method")
    if not isinstance(method, str):
        return _native(block) if "bits" in block else _refused("no quant_method", repr(method)[:60])
    if method == "compressed-tensors":
        form = str(block.get("format"))
        if form in _COMPRESSED:
            return answer.passed(CHECK, _EXPECTED, f"{method} {form}")
        return _refused(f"mlx-lm does not read compressed-tensors of format {form}", form)
    if method == "modelopt":
        inner = block.get("quantization")
        algorithm = (inner if isinstance(inner, Mapping) else block).get("quant_algo")
        if algorithm == "NVFP4":
            return answer.passed(CHECK, _EXPECTED, "modelopt NVFP4")
        return _refused(f"mlx-lm does not read modelopt {algorithm}", str(algorithm))
    if method not in _METHODS:
        return _refused(f"mlx-lm does not read weights quantised by {method}", method)
    if method in {"awq", "gptq"} and block.get("bits", 4) != 4:
        return _refused(f"mlx-lm reads {method} in 4 bits only", f"{block.get('bits')!r} bits")
    if method == "fp8":
        return answer.warned(CHECK, _EXPECTED, "fp8: mlx-lm converts it for some architectures")
    return answer.passed(CHECK, _EXPECTED, method)
