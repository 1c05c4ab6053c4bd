"""How a question to the runtime is spelt; the child that answers reads the same spelling
(:mod:`engine.backends.support`)."""

import re
from collections.abc import Mapping

from engine.types import Backend

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
"""What the name of an architecture, pre-tokenizer or class looks like. Others are never asked."""


def architecture_question(backend: Backend, architecture: str, classes: object = None) -> str:
    """The question about an architecture.

    Args:
        classes: ``architectures`` of a config.json: mlx-lm decides a few model types by it.
    """
    if backend is Backend.MLX and isinstance(classes, list) and len(classes) == 1:
        first = classes[0]
        if isinstance(first, str) and NAME.fullmatch(first):
            return f"{architecture}/{first}"
    return architecture


def pre_tokenizer_question(name: str, model: object = "gpt2") -> str:
    """The question about ``tokenizer.ggml.pre`` of a GGUF; empty where llama.cpp does not read it.

    Args:
        model: ``tokenizer.ggml.model``: a SentencePiece vocabulary has no pre-tokenizer.
    """
    return "" if not name or model == "llama" else f"pre:{name}"


def vocabulary_question(model: str) -> str:
    """The question about ``tokenizer.ggml.model``; empty for those every llama.cpp knows."""
    return "" if model in {"gpt2", "llama"} else f"vocabulary:{model}"


def tokenizer_question(class_name: str) -> str:
    """The question about ``tokenizer_class`` of a tokenizer_config.json."""
    return f"tokenizer:{class_name}"


def split_question(architecture: str) -> str:
    """The question whether a model can be split among ranks.

    Args:
        architecture: As :func:`architecture_question` spells it; ``gguf`` asks llama.cpp, whose
            architectures make no difference.
    """
    return f"split:{architecture}"


def repeat_question(architecture: str) -> str:
    """The question whether mlx-lm gives one key-value head to several ranks."""
    return f"repeat:{architecture}"


def gguf_questions(metadata: Mapping[str, object]) -> tuple[str, ...]:
    """What to ask llama.cpp about a file with this metadata."""
    questions = []
    architecture = metadata.get("general.architecture")
    if isinstance(architecture, str) and NAME.fullmatch(architecture):
        questions.append(architecture_question(Backend.GGUF, architecture))
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if isinstance(model, str) and NAME.fullmatch(model):
        questions.append(vocabulary_question(model))
    if isinstance(pre, str) and NAME.fullmatch(pre):
        questions.append(pre_tokenizer_question(pre, model))
    return tuple(question for question in questions if question)


def folder_questions(
    config: Mapping[str, object], tokenizer_config: Mapping[str, object]
) -> tuple[str, ...]:
    """What to ask mlx-lm about a folder with these files."""
    questions = []
    model_type = config.get("model_type")
    if isinstance(model_type, str) and NAME.fullmatch(model_type):
        questions.append(
            architecture_question(Backend.MLX, model_type, config.get("architectures"))
        )
    class_name = tokenizer_config.get("tokenizer_class")
    if isinstance(class_name, str) and NAME.fullmatch(class_name):
        questions.append(tokenizer_question(class_name))
    return tuple(questions)
