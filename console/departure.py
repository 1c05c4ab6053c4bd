"""How a console ends: by a key, by SIGTERM, or because its terminal is gone."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.line import plain_error
from engine import Readiness

if TYPE_CHECKING:
    from console.app import LmxApp

STOP_LIMIT_S = 10.0
"""An engine that has not stopped by then is left behind; its workers end by themselves."""
HANG_UP_S, HANG_UP_GRACE_S = 1.6, 0.4
"""A hang-up ends the process so soon after the signal, but leaves it so long after the engine has
stopped: Textual may wait for ever on a terminal that is gone."""


class Departure:
    """The end of one console; it comes once.

    Args:
        hard_exit: Ends the process with a status, whatever still runs in it.
        on_hangup: ``detach`` or ``stop``.
    """

    def __init__(
        self, app: "LmxApp", hard_exit: Callable[[int], object], on_hangup: str = "stop"
    ) -> None:
        self.begun = False
        self.detached = False
        """The screen is gone, and the engine is to go on."""
        self._on_hangup = on_hangup
        self._app = app
        self._hard_exit = hard_exit
        self._forget: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """End at a hang-up and at SIGTERM."""
        self._forget = on_end_signals(asyncio.get_running_loop(), self._heard)

    def forget(self) -> None:
        """Give the signals back; a detached engine keeps them."""
        if not self.detached:
            self._forget()

    def _heard(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self.lost()
        else:
            self._app.end()

    def lost(self) -> None:
        """The terminal is gone: the engine goes on without it, or ends."""
        if self._on_hangup == "detach" and self.serves:
            self.detach(hung_up=True)
        else:
            self._app.end(hung_up=True)

    @property
    def serves(self) -> bool:
        """Whether somebody may be served without this screen: the API answers, a model takes
        requests."""
        snapshot = self._app.pump.latest or self._app.snapshot
        return (
            self._app.outlet is not None
            and bool(snapshot.api)
            and any(model.readiness is Readiness.ROUTABLE for model in snapshot.models)
        )

    def detach(self, *, hung_up: bool = False) -> None:
        """Take the screen away; whoever runs the app goes on with engine and API.

        Args:
            hung_up: The terminal is gone, and nothing may wait for it.
        """
        if self.begun:
            return
        self.begun = self.detached = True
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing left to lose
        why = "its terminal is gone" if hung_up else "by its operator"
        if self._app.outlet is not None:
            self._app.outlet.note("console_detached", f"the screen went, {why}", self._app.actor)
        if hung_up:
            self._app.abandon()
        self._app.exit()

    def stop(self, *, hung_up: bool = False) -> None:
        """Stop the engine in order, then leave. Safe to call twice.

        Args:
            hung_up: The terminal may be gone and never take another byte: leave by force soon
                after the engine has stopped.
        """
        if self.begun:
            return
        self.begun = True
        work = self._stop_engine(hung_up)
        self._app.run_worker(work, name="stop", group="stop", exit_on_error=False)

    async def _stop_engine(self, hung_up: bool) -> None:
        app, begun = self._app, time.monotonic()
        app.workers.cancel_group(app, "start")
        message = None
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                closing = (app.outlet.close(),) if app.outlet else ()
                await asyncio.gather(app.engine.stop(), *closing)
        except TimeoutError:
            message = f"the engine did not stop within {STOP_LIMIT_S:.0f} s"
        except Exception as error:
            message = f"the engine did not stop cleanly: {plain_error(error)}"
        if hung_up:
            leave_by_force(self._hard_exit, begun)
        app.exit(return_code=0 if message is None else 1, message=message)


def leave_by_force(hard_exit: Callable[[int], object], begun: float) -> None:
    """End the process soon, whatever still runs in it: its terminal may be gone for ever.

    Args:
        hard_exit: Ends it with a status.
        begun: When the hang-up came, on the monotonic clock.
    """
    left = HANG_UP_S - (time.monotonic() - begun)
    timer = threading.Timer(max(left, HANG_UP_GRACE_S), hard_exit, (129,))
    timer.daemon = True
    timer.start()


def on_end_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[signal.Signals], None]
) -> Callable[[], None]:
    """Call ``stop`` when the terminal hangs up (SIGHUP) or someone asks us to end (SIGTERM).

    Textual handles neither: a hang-up would kill the process mid-write, or spin for ever where
    SIGHUP is ignored.

    Returns:
        A function that takes the handlers away again.
    """
    installed: list[signal.Signals] = []
    for number in (signal.SIGHUP, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except (NotImplementedError, RuntimeError, ValueError):
            continue  # not the main thread (a test), or a platform without it
        installed.append(number)

    def remove() -> None:
        for number in installed:
            loop.remove_signal_handler(number)

    return remove
