"""Can the model be split among so many ranks: asked only of a load that wants more than one.

A rank holds whole attention heads and an even part of every matrix, so the numbers must divide;
mlx-lm would load some splits that do not and compute nonsense. Never overridable: no operator can
make nine heads into two halves.
"""

import math
from collections.abc import Iterator, Mapping

from engine.admission import answer
from engine.admission.estimate import flattened
from engine.admission.folder_shapes import positive
from engine.admission.question import architecture_question, repeat_question, split_question
from engine.admission.subject import Subject
from engine.catalog.safetensors import SafetensorsHeader
from engine.errors import Code
from engine.types import Backend, Check

CHECK = "split"
MOST = 64
"""Ranks of one model, at most; no model in use has more key-value heads to give away."""
_SPLIT_ALONG_INPUT = (".o_proj.scales", ".down_proj.scales")
"""How the tensors end whose groups of quantised weights go to the ranks, group by group."""
_OUTSIDE = (".layers.", ".h.", ".blocks.", "blk.")
"""What the name of a layer's tensor contains. Every other tensor is kept whole by every rank."""


def check(subject: Subject) -> Check:
    """Whether the runtime can split this architecture, and the numbers divide."""
    ranks = subject.options.ranks or 1
    expected = f"a model that can be split among {ranks} ranks"
    if ranks > MOST:
        return _refused("too many ranks", f"at most {MOST} ranks", f"{ranks} ranks", "use fewer")
    if subject.is_simulated:
        return answer.passed(CHECK, expected, f"simulated by {ranks} processes")
    if subject.entry.backend is Backend.GGUF:
        return _gguf(subject, ranks)
    names = subject.config.get("architectures")
    question = architecture_question(Backend.MLX, subject.architecture, names)
    runtime = subject.facts.backend_version or "this runtime"
    able = subject.facts.supports(split_question(question))
    if able is False:
        return _refused(
            f"{runtime} cannot split the architecture {subject.architecture}",
            "an architecture that the runtime can split",
            f"{subject.architecture}, {ranks} ranks",
            "load it with one rank",
        )
    few = subject.facts.supports(repeat_question(question)) is True
    numbers = tuple(_numbers(subject, ranks, few=few))
    for count, what in numbers:
        if count % ranks:
            return _refused(
                f"{count:,} {what} cannot be divided among {ranks} ranks",
                f"a number of {what} that {ranks} divides",
                f"{count:,} {what}, {ranks} ranks",
                _remedy([count for count, _ in numbers]),
            )
    if able is None:
        return answer.unknown(CHECK, expected, f"{runtime} has not been asked yet")
    found = ", ".join(f"{count:,} {what}" for count, what in numbers[:2])
    return answer.passed(CHECK, expected, found or "its config tells no heads")


def _gguf(subject: Subject, ranks: int) -> Check:
    """llama.cpp splits a model over its RPC servers, where it was built with RPC."""
    runtime = subject.facts.backend_version or "this llama.cpp"
    able = subject.facts.supports(split_question("gguf"))
    if able:
        found = "built with RPC, which this program does not drive"
    else:
        found = "not asked yet" if able is None else "built without RPC (llama_supports_rpc)"
    return _refused(
        f"a GGUF cannot be split among ranks here: {runtime} is {found}",
        "an MLX model, or a llama.cpp that splits over RPC",
        f"{runtime}, {found}; {ranks} ranks",
        "load it with one rank, or use an MLX version of the model",
    )


def _numbers(subject: Subject, ranks: int, *, few: bool) -> Iterator[tuple[int, str]]:
    """What must divide, and by which name.

    Args:
        few: Whether the runtime gives one key-value head to several ranks where it must.
    """
    values = _of_header(subject.metadata) if subject.is_gguf else _of_config(subject.config)
    heads, shared, inner = values
    if shared and not (few and shared < ranks and ranks % shared == 0):
        yield shared, "key-value heads"
    if heads:
        yield heads, "attention heads"
    for size in inner:
        yield size, "rows of the feed-forward"
    for header in subject.headers:
        if not isinstance(header, SafetensorsHeader):
            continue
        for tensor in header.tensors:
            if tensor.name.endswith(_SPLIT_ALONG_INPUT) and tensor.shape[-1] % ranks:
                yield tensor.shape[-1], f"groups of weights in {tensor.name}"


def _of_header(metadata: Mapping[str, object]) -> tuple[int, int, tuple[int, ...]]:
    """Heads, key-value heads and inner sizes by a GGUF's metadata; 0 where it does not say."""
    name = metadata.get("general.architecture")

    def value(key: str) -> int:
        return positive(metadata.get(f"{name}.{key}"))

    heads = value("attention.head_count")
    inner = value("feed_forward_length")
    return heads, value("attention.head_count_kv") or heads, (inner,) if inner else ()


def _of_config(config: Mapping[str, object]) -> tuple[int, int, tuple[int, ...]]:
    """The same by a config.json. With latent attention every rank keeps the one latent vector, and
    no key-value heads are given away."""
    config = flattened(config)
    heads = positive(config.get("num_attention_heads", config.get("n_head")))
    shared = positive(config.get("num_key_value_heads")) or heads
    sizes = (positive(config.get(key)) for key in ("intermediate_size", "moe_intermediate_size"))
    latent = bool(positive(config.get("kv_lora_rank")))
    return heads, 0 if latent else shared, tuple(size for size in sizes if size)


def _remedy(counts: list[int]) -> str:
    shared = math.gcd(*counts)
    fits = [str(n) for n in range(2, min(shared, MOST) + 1) if shared % n == 0]
    return f"use {' or '.join(fits[:6])} ranks, or one" if fits else "load it with one rank"


def _refused(message: str, expected: str, found: str, remedy: str) -> Check:
    return answer.failed(
        CHECK,
        Code.MODEL_UNSUPPORTED_BACKEND,
        message,
        expected=expected,
        found=found,
        remedy=remedy,
    )


def kept_whole(subject: Subject) -> int:
    """Bytes of weights that every rank holds all of: embeddings, the head, the last norm."""
    return sum(
        tensor.bytes
        for header in subject.headers
        for tensor in header.tensors
        if not any(part in f".{tensor.name}" for part in _OUTSIDE)
    )
