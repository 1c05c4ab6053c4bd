"""Completeness of a GGUF's tokenizer: everything llama.cpp would look up without a fallback."""

from collections.abc import Iterator, Mapping

from engine.admission.gap import CONVERT, Gap
from engine.catalog.cursor import MAX_TOLD_APART
from engine.catalog.gguf import GgufArray

BYTES = 256
_MERGING = frozenset({"gpt2", "gemma4", "hybriddna"})
"""Tokenizer models for which llama.cpp 0.3.36 refuses a file without merges."""
_BY_BYTE = frozenset({"llama", "plamo2"})
"""Tokenizer models that fall back on byte tokens."""


def tokenizer(metadata: Mapping[str, object]) -> Iterator[Gap]:
    """The gaps in a file's tokenizer, in the order in which they matter."""
    model = metadata.get("tokenizer.ggml.model")
    if not isinstance(model, str) or model in ("", "no_vocab"):
        # With no_vocab llama.cpp reads no tokens, whatever the file holds of them.
        yield Gap("it has no tokenizer", "tokenizer.ggml.model", repr(model)[:60], CONVERT)
        return
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GgufArray) or tokens.element_type != "string" or not tokens.length:
        yield Gap("its tokenizer has no tokens", "tokenizer.ggml.tokens", "none", CONVERT)
        return
    if tokens.length > MAX_TOLD_APART:
        most = f"at most {MAX_TOLD_APART:,} tokens"
        yield Gap("its vocabulary is too large", most, f"{tokens.length:,}")
    if not tokens.distinct:
        # GGML_ASSERT(id_to_token.size() == token_to_id.size()): the process ends.
        yield Gap(
            "its vocabulary holds a token twice", "every token once", "a repeated one", CONVERT
        )
    yield from _arrays(metadata, tokens)
    if model in _MERGING:
        merges = metadata.get("tokenizer.ggml.merges")
        good = isinstance(merges, GgufArray) and merges.element_type == "string" and merges.length
        if not good:
            yield Gap("its tokenizer has no merges", "tokenizer.ggml.merges", "none", CONVERT)
    if model in _BY_BYTE and tokens.byte_tokens < BYTES:
        # llama.cpp looks them up without a fallback: std::terminate at the first tokenize (row 36).
        found = f"{tokens.byte_tokens} of {BYTES}"
        yield Gap(
            "its tokenizer lacks byte tokens", f"{BYTES} tokens <0x00>…<0xFF>", found, CONVERT
        )
    if model == "bert":
        # A byte token in one of these ends llama.cpp when it turns tokens into text.
        yield Gap(
            "its tokenizer is an encoder's (WordPiece)", "a tokenizer that writes", model, CONVERT
        )
    for key in ("bos", "eos"):
        token = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token, int) and not 0 <= token < tokens.length:
            expected = f"a token below {tokens.length:,}"
            yield Gap(f"its {key} token is outside the vocabulary", expected, f"{token:,}", CONVERT)


def _arrays(metadata: Mapping[str, object], tokens: GgufArray) -> Iterator[Gap]:
    for key, types in (("scores", {"f32"}), ("token_type", {"i32", "u32"})):
        array = metadata.get(f"tokenizer.ggml.{key}")
        if array is None:
            continue
        good = isinstance(array, GgufArray) and array.element_type in types
        if not good or not isinstance(array, GgufArray) or array.length != tokens.length:
            found = "no array"
            if isinstance(array, GgufArray):
                found = f"{array.length:,} of {array.element_type}"
            yield Gap(
                f"tokenizer.ggml.{key} does not fit the vocabulary",
                f"{tokens.length:,} of {'/'.join(sorted(types))}",
                found,
                CONVERT,
            )
