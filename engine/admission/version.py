"""Versions as the registry writes them, and the ranges a signature names."""

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version


def parse_backend_version(text: str) -> dict[str, str]:
    """Split ``mlx-lm 0.32.2, mlx 0.32.4`` into a version by package name.

    A part without a version is left out.
    """
    versions: dict[str, str] = {}
    for part in text.split(","):
        name, _, version = part.strip().partition(" ")
        if name and version.strip():
            versions[name.lower()] = version.strip()
    return versions


def parse_range(text: str) -> SpecifierSet:
    """Read a range such as ``>=0.30,<0.31`` (PEP 440). Empty means every version.

    Raises:
        ValueError: it is no range.
    """
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"{text!r} is no version range such as '>=0.30,<0.31'") from error


def within(version: str, versions: str) -> bool:
    """Whether a version lies in a range. One that cannot be read lies in none but the empty one.

    A development build of 0.30.7 counts as part of ``>=0.30``: the fault it may carry does not
    know about release names.
    """
    try:
        return parse_range(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not versions.strip()
