"""What is missing or broken in a model's files."""

from dataclasses import dataclass

from engine.catalog.header import HeaderError, Kind

CHECK = "complete"
EXPECTED = "every file whole: config, tokenizer and weights"
AGAIN = "download the model again"
CONVERT = "convert the model again, or take another source"


@dataclass(frozen=True, slots=True)
class Gap:
    """One reason why a model is incomplete, in words for an operator."""

    message: str
    expected: str
    found: str
    remedy: str = AGAIN


def gap_of(name: str, error: HeaderError) -> Gap:
    """The gap that a file which cannot be read leaves."""
    remedy = AGAIN
    if error.kind is Kind.FORBIDDEN:
        remedy = f"let the user that runs lmx read {name}"
    elif error.kind is Kind.UNREADABLE:
        remedy = "try again; check the disk or the network mount"
    what = "is missing" if error.kind is Kind.MISSING else f"is damaged: {error.found}"
    if error.kind in {Kind.FORBIDDEN, Kind.UNREADABLE}:
        what = f"cannot be read: {error.found}"
    return Gap(f"{name} {what}", error.expected, error.found, remedy)
