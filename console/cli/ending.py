"""How an engine without a screen ends: at a signal, once its requests have, or at a second one."""

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from console.cli.answer import tell

if TYPE_CHECKING:
    from console.outlet import Outlet
    from engine import EngineFace

HURRY_S = 2.0
"""From the second signal on, this long; what has not ended by then is left behind."""


def listen() -> tuple[asyncio.Event, asyncio.Event]:
    """Set the first event at the first signal, the second one at the second."""
    ending, hurrying = asyncio.Event(), asyncio.Event()

    def heard() -> None:
        (hurrying if ending.is_set() else ending).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Under nohup a hang-up is ignored, and stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, heard)
    return ending, hurrying


async def end(
    engine: "EngineFace", outlet: "Outlet", drain_s: float, hurrying: asyncio.Event
) -> None:
    """Let requests end, then the engine, then the API, which says to the last who asks that it is
    ending; after a second signal nothing is waited for beyond ``HURRY_S``."""

    async def in_order() -> None:
        await engine.stop(drain_s=drain_s)
        await outlet.close()

    work = asyncio.create_task(in_order())
    hurry = asyncio.create_task(hurrying.wait())
    await asyncio.wait({work, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not work.done():
        tell("ending at once")
        with suppress(TimeoutError):
            async with asyncio.timeout(HURRY_S):
                await asyncio.gather(engine.stop(), asyncio.shield(work))
    if work.done():
        work.result()
