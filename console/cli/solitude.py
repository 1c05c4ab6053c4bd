"""A console's process from the first paint to the end of its engine, with the screen or without."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.answer import DONE, tell
from console.cli.ending import end, listen
from console.cli.launcher import Launch

if TYPE_CHECKING:
    from console.app import LmxApp

LOG = "detached.log"
_LONGEST_LOG = 1_000_000
"""What a detached engine has to say goes into the event log; here is only what was not foreseen."""


def run(app: "LmxApp", launch: Launch | None, *, mouse: bool, logs: Path, drain_s: float) -> int:
    """Run a console; where its operator detaches or its terminal is gone, go on without it.

    Args:
        launch: Who waits for this process, if anybody does.
        logs: The home's folder for logs.
        drain_s: What requests in flight are given at the end of a detached engine, in seconds.

    Returns:
        The exit status.
    """
    return asyncio.run(_run(app, launch, mouse=mouse, logs=logs, drain_s=drain_s))


async def _run(
    app: "LmxApp", launch: Launch | None, *, mouse: bool, logs: Path, drain_s: float
) -> int:
    loop = asyncio.get_running_loop()
    if launch is not None:

        def orphaned() -> None:
            """The launcher was killed: the shell has the terminal back, and this must end."""
            loop.remove_reader(launch.life)
            for number in (signal.SIGTTOU, signal.SIGTTIN):
                signal.signal(number, signal.SIG_IGN)
            app.end()

        loop.add_reader(launch.life, orphaned)
    try:
        await app.run_async(mouse=mouse)
    except Exception:
        if not app.departure.detached:  # a terminal that is gone may fail in any way
            raise
    if launch is not None:
        loop.remove_reader(launch.life)
    if not app.departure.detached or app.outlet is None:
        return app.return_code or DONE
    ending, hurrying = listen()
    api, home = app.engine.snapshot().api, logs.parent
    with suppress(OSError):
        _turn_away(logs)
    if launch is not None:
        launch.go_on(
            f"lmx: detached; the engine goes on as process {os.getpid()}, answering at {api}\n"
            "lmx: `lmx` comes back to it, `lmx stop` ends it"
        )
    tell(f"serving {home} at http://{api} without a screen")
    await ending.wait()
    tell(f"ending; requests in flight have {drain_s:g} s, or signal again")
    await end(app.engine, app.outlet, drain_s, hurrying)
    return DONE


def _turn_away(logs: Path) -> None:
    """Have standard input read nothing, and what is still said go into a file. Raises OSError."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    path = logs / LOG
    if path.exists() and path.stat().st_size > _LONGEST_LOG:
        path.unlink()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
