"""Which release of the program this is."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The installed version, or ``0`` in a bare checkout."""
    try:
        return version("opta-lmx")
    except PackageNotFoundError:
        return "0"
