"""Is all of the model there, and whole. One door for the three kinds of model."""

from engine.admission import answer, folder_completeness, gap, gguf_completeness
from engine.admission.gap import EXPECTED, Gap
from engine.admission.subject import Subject
from engine.catalog.simulated import ScriptError, read_script
from engine.errors import Code
from engine.types import Check

CHECK = gap.CHECK


def check(subject: Subject) -> Check:
    """Refuse what is missing, cut short or damaged. Reads headers and small files only.

    A whole file of another format or version is ``unknown`` here: the backend check refuses it.
    """
    if subject.is_simulated:
        return _simulated(subject)
    judge = gguf_completeness.judge if subject.is_gguf else folder_completeness.judge
    found = judge(subject)
    if isinstance(found, Gap):
        return answer.failed(
            CHECK,
            Code.MODEL_INCOMPLETE,
            found.message,
            expected=found.expected,
            found=found.found,
            remedy=found.remedy,
        )
    return found


def _simulated(subject: Subject) -> Check:
    try:
        script = read_script(subject.entry.path)
    except ScriptError as error:
        return answer.failed(
            CHECK,
            Code.MODEL_INCOMPLETE,
            f"simulated.json cannot be used: {error.found}",
            expected=error.expected,
            found=error.found,
            remedy="mend simulated.json",
        )
    return answer.passed(CHECK, EXPECTED, f"a script with {len(script.faults)} faults")
