"""What the registry holds beyond the newest rows of a snapshot, fetched off the event loop."""

import asyncio

from engine import EngineFace, RegistryRow


async def rows_of(
    engine: EngineFace, *, model_id: str | None = None, limit: int
) -> tuple[RegistryRow, ...]:
    """The newest rows, newest first, of one model or of all.

    Raises:
        EngineError: the engine is not open.
    """
    archive = engine.desk.archive()
    return await asyncio.to_thread(archive.rows, model_id, limit=limit)


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
