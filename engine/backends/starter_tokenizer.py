"""The MLX starter's tokenizer files, made from the vocabulary inside its GGUF."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CONTROL = 3
"""llama.cpp's token type of tokens that text never spells (LLAMA_TOKEN_TYPE_CONTROL)."""


def write_tokenizer(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``.

    Byte-level BPE whose digits are split one by one, which is what llama.cpp does for the
    pre-tokenizer named ``smollm``; every control token is special.

    Args:
        metadata: The GGUF's metadata as MLX reads it.

    Raises:
        ValueError: the vocabulary is of another kind.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = (metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.pre"])
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"vocabulary of kind {kind}; the starter's is ('gpt2', 'smollm')")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    types: list[int] = metadata["tokenizer.ggml.token_type"].tolist()
    merges = [tuple(line.split(" ")) for line in metadata["tokenizer.ggml.merges"]]

    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [text for text, type_ in zip(tokens, types, strict=True) if type_ == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in control])
    tokenizer.save(str(folder / "tokenizer.json"))

    def named(role: str) -> str:
        number: int = metadata[f"tokenizer.ggml.{role}_token_id"].item()
        return tokens[number]

    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": named("bos"),
        "eos_token": named("eos"),
        "pad_token": named("padding"),
        "unk_token": named("unknown"),
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"].item(),
        "chat_template": metadata["tokenizer.chat_template"],
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
