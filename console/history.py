"""What the registry holds beyond the newest rows of a snapshot."""

from engine import RegistryRow


def joined(
    newest: tuple[RegistryRow, ...], held: tuple[RegistryRow, ...]
) -> tuple[RegistryRow, ...] | None:
    """The rows held with what a snapshot shows on top of them.

    Args:
        newest: A snapshot's rows, newest first.
        held: Rows that were fetched before, newest first.

    Returns:
        None where the two do not meet: more has come than a snapshot shows, fetch again.
    """
    if not newest or not held:
        return newest or held
    for count, row in enumerate(newest):
        if row == held[0]:
            return (*newest[:count], *held)
    return None
