"""The whole seconds that everything slow keeps to.

Timers that fall together wake the process once: an engine with ten idle models would otherwise be
woken for each of their watchers at a time of its own.
"""

import asyncio


async def until_second(length_s: float) -> None:
    """Sleep until the event loop's clock next shows a whole multiple of ``length_s`` seconds."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(length_s - now % length_s)
