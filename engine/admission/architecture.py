"""Does the installed runtime know this architecture, and is it one that writes text."""

from engine.admission import answer
from engine.admission.kind import foreign_kind
from engine.admission.question import NAME, architecture_question
from engine.admission.subject import Subject
from engine.catalog.folder import CONFIG
from engine.catalog.header import HeaderError
from engine.errors import Code
from engine.types import Check

CHECK = "architecture"
_EXPECTED = "a text generator the installed runtime knows"
_OVERRIDE = "upgrade the backend, or load with allow_unsupported_runtime"


def check(subject: Subject) -> Check:
    """Refuse what the runtime says it does not know, and what is no text generator.

    What the runtime has not been asked yet is ``unknown`` and blocks nothing: the load will tell.
    """
    if subject.is_simulated:
        return answer.passed(CHECK, _EXPECTED, "simulated")
    if unread := _unread(subject):
        return unread
    if words := foreign_kind(subject):
        name = subject.architecture or "adapter"
        return _refused(f"it is {words}", name, "use a model that writes text")
    raw = _raw_name(subject)
    field = "general.architecture" if subject.is_gguf else "model_type"
    if raw is None:
        return _refused(f"the model does not say what it is: no {field}", f"no {field}", _OVERRIDE)
    if not isinstance(raw, str) or not NAME.fullmatch(raw):
        return _refused(f"{field} is no name of an architecture", repr(raw)[:100], _OVERRIDE)
    # The starter's twin is built by MLX from a GGUF: mlx-lm calls it by the same name.
    question = architecture_question(
        subject.entry.backend, raw, subject.config.get("architectures")
    )
    known = subject.facts.supports(question)
    if known is None and question != raw:
        known = subject.facts.supports(raw)
    runtime = subject.facts.backend_version or subject.entry.backend.value
    if known is None:
        return answer.unknown(CHECK, _EXPECTED, f"{raw}; {runtime} has not been asked yet")
    if not known:
        return _refused(f"{runtime} does not know the architecture {raw}", raw, _OVERRIDE)
    if not subject.is_gguf and isinstance(subject.config.get("vision_config"), dict):
        return answer.warned(CHECK, _EXPECTED, f"{raw}: served as text only, images are not seen")
    return answer.passed(CHECK, _EXPECTED, f"{raw}, known to {runtime}")


def _raw_name(subject: Subject) -> object:
    if subject.is_gguf:
        return subject.metadata.get("general.architecture")
    return subject.config.get("model_type")


def _unread(subject: Subject) -> Check | None:
    if subject.is_gguf and isinstance(subject.header, HeaderError):
        return answer.unknown(CHECK, _EXPECTED, "the header cannot be read")
    if not subject.is_gguf and isinstance(subject.json(CONFIG), HeaderError):
        return answer.unknown(CHECK, _EXPECTED, "config.json cannot be read")
    if not subject.is_gguf and subject.json(CONFIG) is None and not foreign_kind(subject):
        return answer.unknown(CHECK, _EXPECTED, "there is no config.json")
    return None


def _refused(message: str, found: str, remedy: str) -> Check:
    return answer.failed(
        CHECK,
        Code.MODEL_UNSUPPORTED_ARCH,
        message,
        expected=_EXPECTED,
        found=found,
        remedy=remedy,
        overridable=True,
    )
