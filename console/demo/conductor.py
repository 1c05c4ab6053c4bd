"""Plays a script: shows captions, presses keys, waits for what they lead to, and for the reader."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from console.demo.beat import (
    Act,
    Await,
    Beat,
    Choose,
    Leap,
    Press,
    Say,
    Upgrade,
    chosen,
    focus,
    holds,
    on,
)
from console.widgets.models import ModelsPanel

if TYPE_CHECKING:
    from console.app import LmxApp
    from console.demo.app import DemoApp

PATIENCE_S = 120.0
"""So long one condition is waited for; the slowest is a cold import of a backend."""
LOOK_S = 0.05
"""How often a condition is asked."""
KEY_S, LETTER_S = 0.3, 0.06
"""Between two keys of one act, and two letters of a text, at pace 1: so that a viewer can follow.
Nothing depends on them."""


class Part(Enum):
    """Who plays: the conductor, nobody (the script is over), or the presenter."""

    PLAYING = "playing"
    OVER = "over"
    YOURS = "yours"


class Conductor:
    """One performance.

    Args:
        app: Whose keys are pressed.
        script: The beats, in order.
        pace: How many times as fast as written the reader reads.
        shown: Called with each beat once its acts are done, before it is read.
    """

    def __init__(
        self,
        app: "DemoApp",
        script: Sequence[Beat],
        pace: float,
        shown: Callable[[Beat], Awaitable[None]] | None = None,
    ) -> None:
        self._app = app
        self._pace = pace
        self._shown = shown
        self.script = tuple(script)
        self.at = 0
        """The index of the beat that is played."""
        self.part = Part.PLAYING
        self.paused = False
        self.trouble = ""
        """What was waited for in vain, or empty."""
        self._skip = False
        self._through = False
        """One beat may be played although it is paused."""
        self._changed = asyncio.Event()

    @property
    def beat(self) -> Beat:
        """The beat that is played."""
        return self.script[self.at]

    def pause(self) -> None:
        """Stop before the next act, or go on."""
        self.paused = not self.paused
        self._changed.set()

    def next(self) -> None:
        """Enough read; paused, play one beat more."""
        self._skip = True
        self._changed.set()

    async def play(self) -> None:
        """Play the script to its end."""
        try:
            for at, beat in enumerate(self.script):
                self.at = at
                await self._play(beat)
        except TimeoutError as error:
            self.trouble = str(error)
            self.part = Part.YOURS
        else:
            self.part = Part.OVER
        self._app.tell()

    async def _play(self, beat: Beat) -> None:
        await self._hold()
        self._app.tell()
        for act in beat.acts:
            await self._hold()
            await self._do(act)
        self._app.tell()  # a screen opened meanwhile has not heard it
        if self._shown is not None:
            await self._shown(beat)
        self._through = False
        if beat is not self.script[-1]:
            await self._rest(beat.read_s / self._pace)

    async def _hold(self) -> None:
        while self.paused and not self._skip and not self._through:
            self._changed.clear()
            await self._changed.wait()

    async def _rest(self, left: float) -> None:
        """Give the reader so many seconds; those of a pause do not count."""
        while left > 0 and not self._skip:
            self._changed.clear()
            begun = time.monotonic()
            try:
                await asyncio.wait_for(self._changed.wait(), None if self.paused else left)
            except TimeoutError:
                return
            if not self.paused:
                left -= time.monotonic() - begun
        self._through = self._skip and self.paused
        self._skip = False

    async def _do(self, act: Act) -> None:
        match act:
            case Press(keys):
                await self._press(keys, KEY_S)
            case Say(text):
                await self._press(tuple(text), LETTER_S)
                await self._wait(holds(text))
            case Choose(model_id):
                await self._choose(model_id)
            case Await():
                await self._wait(act)
            case Leap(seconds):
                self._app.leap(seconds)
            case Upgrade():
                self._app.upgrade()

    async def _press(self, keys: Sequence[str], between_s: float) -> None:
        for key in keys:
            self._app.press_key(key)
            await asyncio.sleep(between_s / self._pace)

    async def _choose(self, model_id: str) -> None:
        """Bring the cursor to a model's row, one line at a time."""
        await self._wait(on("DashboardScreen"))
        await self._press(("1",), 0)
        await self._wait(focus("models"))
        there = Await(f"{model_id} to be listed", lambda app: model_id in _ids(app))
        await self._wait(there)
        ids = _ids(self._app)
        now = getattr(self._app.screen, "target_id", None)
        if now not in ids:
            await self._press(("g",), LETTER_S)
            now = ids[0]
        steps = ids.index(model_id) - ids.index(now)
        await self._press(("j" if steps > 0 else "k",) * abs(steps), LETTER_S)
        await self._wait(chosen(model_id))

    async def _wait(self, act: Await) -> None:
        """Ask until it is so.

        Raises:
            TimeoutError: it never was.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not act.condition(self._app):
            if time.monotonic() > deadline:
                raise TimeoutError(act.what)
            await asyncio.sleep(LOOK_S)


def _ids(app: "LmxApp") -> tuple[str, ...]:
    return app.screen.query_one(ModelsPanel).ids
