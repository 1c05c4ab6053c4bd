"""Is this pair of model and runtime one that is known to fail."""

from engine.admission import answer
from engine.admission.subject import Subject
from engine.errors import Code
from engine.types import Check

CHECK = "signature"
_EXPECTED = "no known-bad signature for this backend version"


def check(subject: Subject) -> Check:
    """Refuse what ``signatures.toml`` or the operator's own file names, with reason and source."""
    facts, entry = subject.facts, subject.entry
    architecture = subject.architecture
    for signature in facts.signatures:
        if signature.matches(
            entry.backend, architecture, subject.quantisations, facts.backend_version
        ):
            return answer.failed(
                CHECK,
                Code.MODEL_UNSUPPORTED_BACKEND,
                f"known to fail on {facts.backend_version}: {signature.reason}",
                expected=_EXPECTED,
                found=f"signature {signature.id} ({signature.reference})",
                remedy="use another version of the backend, or load with allow_unsupported_runtime",
                overridable=True,
            )
    words = f"{architecture or 'no architecture'} matches none of {len(facts.signatures)}"
    return answer.passed(CHECK, _EXPECTED, words)
