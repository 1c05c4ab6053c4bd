"""What the runtime must be asked before the gate can judge a model.

The gate asks nobody itself: the engine puts these questions to the runtime in a child
(:mod:`engine.workers.capability`), remembers the answers and hands them over in ``Facts``.
"""

from engine.admission.facts import Facts
from engine.admission.question import (
    architecture_question,
    folder_questions,
    gguf_questions,
    repeat_question,
    split_question,
)
from engine.admission.subject import Subject
from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import TOKENIZER_CONFIG
from engine.face import LoadOptions
from engine.types import Backend


def questions(entry: CatalogEntry, ranks: int = 1) -> tuple[str, ...]:
    """Every question about this model that ``Facts.supports`` will be asked by the gate.

    Args:
        ranks: Processes it is to be split among.

    Reads one header or two small files, bounded; what cannot be read raises no question.
    """
    if entry.backend is Backend.SIMULATED:
        return ()
    subject = Subject(entry, Facts(), LoadOptions(), release=False, fingerprint="")
    if subject.builds:
        plain: tuple[str, ...] = (entry.architecture,) if entry.architecture else ()
    elif subject.is_gguf:
        plain = gguf_questions(subject.metadata)
    else:
        plain = folder_questions(subject.config, subject.content(TOKENIZER_CONFIG))
    return plain + _of_split(subject) if ranks > 1 else plain


def _of_split(subject: Subject) -> tuple[str, ...]:
    if subject.entry.backend is Backend.GGUF:
        return (split_question("gguf"),)
    names = subject.config.get("architectures")
    name = architecture_question(Backend.MLX, subject.architecture, names)
    return (split_question(name), repeat_question(name)) if name else ()
