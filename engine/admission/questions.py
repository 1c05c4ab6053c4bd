"""What the runtime must be asked before the gate can judge a model.

The gate asks nobody itself: the engine puts these questions to the runtime in a child
(:mod:`engine.workers.capability`), remembers the answers and hands them over in ``Facts``.
"""

from engine.admission.facts import Facts
from engine.admission.question import folder_questions, gguf_questions
from engine.admission.subject import Subject
from engine.catalog.entry import CatalogEntry
from engine.catalog.folder import TOKENIZER_CONFIG
from engine.face import LoadOptions
from engine.types import Backend


def questions(entry: CatalogEntry) -> tuple[str, ...]:
    """Every question about this model that ``Facts.supports`` will be asked by the gate.

    Reads one header or two small files, bounded; what cannot be read raises no question.
    """
    if entry.backend is Backend.SIMULATED:
        return ()
    subject = Subject(entry, Facts(), LoadOptions(), release=False, fingerprint="")
    if subject.builds:
        return (entry.architecture,) if entry.architecture else ()
    if subject.is_gguf:
        return gguf_questions(subject.metadata)
    return folder_questions(subject.config, subject.content(TOKENIZER_CONFIG))
