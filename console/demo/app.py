"""The console with a conductor in front of it: the same app, a caption above every screen."""

import asyncio
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from textual import events, on
from textual.screen import ModalScreen, Screen

from console.app import LmxApp
from console.demo.beat import Beat
from console.demo.clock import DemoClock
from console.demo.conductor import Conductor, Part
from console.demo.stage import Stage, machine
from console.line import Line
from console.widgets.caption import CaptionBar, caption_lines
from console.widgets.lines import LinePanel
from engine import Engine, EngineFace

PLAYING = "space pause  n next  any key takes over"
PAUSED = "PAUSED  space goes on  n next"
YOURS = "You have it; ctrl+q ends."
_NAMED = {
    " ": "space",
    ".": "full_stop",
    ",": "comma",
    "-": "minus",
    "?": "question_mark",
    "'": "apostrophe",
    "/": "slash",
}
"""Textual's names of the characters a script types."""


class DemoApp(LmxApp):
    """Plays a script on a stage until the presenter takes over.

    Args:
        stage: The temporary home, built.
        script: What is played.
        pace: How many times as fast as written.
        clock: The clock of engine and screen alike.
        face: Wraps the engine; a recording sees the same thing twice by it.
        shown: Called with each beat once it can be seen.
        options: What any console takes.
    """

    CSS_PATH = ["../app.tcss", "../screens/dashboard.tcss"]  # noqa: RUF012 - as in the console
    # A dialog stands below the caption.
    CSS: ClassVar[str] = "Dialog #box { margin-top: 3; } CaptionBar { background: $panel; }"

    def __init__(
        self,
        stage: Stage,
        script: Sequence[Beat],
        *,
        pace: float = 1.0,
        clock: DemoClock | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        face: Callable[[EngineFace], EngineFace] = lambda engine: engine,
        shown: Callable[[Beat], Awaitable[None]] | None = None,
        **options: Any,
    ) -> None:
        self.demo_clock = clock or DemoClock(time.time)
        engine = Engine(stage.settings(), clock=self.demo_clock, new_id=new_id, machine=machine)
        super().__init__(engine=face(engine), clock=self.demo_clock, **options)
        self._stage = stage
        self._own: list[events.Key] = []
        """Keys the conductor has pressed and the app has not seen yet."""
        self.conductor = Conductor(self, script, pace, shown)

    # Life and end

    def on_mount(self) -> None:
        """Start the conductor; it waits for the engine by itself."""
        with suppress(NotImplementedError, RuntimeError, ValueError):  # a test's thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.end)
        self.run_worker(self.conductor.play(), name="demo", group="demo", exit_on_error=False)

    def end(self, *, hung_up: bool = False) -> None:
        """Stop playing, then end as any console does."""
        self.workers.cancel_group(self, "demo")
        super().end(hung_up=hung_up)

    # The caption

    def get_default_screen(self) -> Screen[Any]:
        """The dashboard below the caption."""
        return self._captioned(super().get_default_screen())

    def push_screen(self, screen: Any, *arguments: Any, **options: Any) -> Any:
        """Every screen gets the caption; a dialog stands over one that has it."""
        if isinstance(screen, Screen) and not isinstance(screen, ModalScreen):
            self._captioned(screen)
        return super().push_screen(screen, *arguments, **options)

    @on(LinePanel.Resized)
    def _resized(self) -> None:
        self.tell()

    def _captioned(self, screen: Screen[Any]) -> Screen[Any]:
        bar = CaptionBar(id="caption")
        bar.show(self._caption(self.size.width))  # its first paint has the words
        screen.compose_add_child(bar)
        return screen

    def tell(self) -> None:
        """Show the caption of the present beat on every screen there is."""
        for screen in self.screen_stack:
            for bar in screen.query("#caption").results(CaptionBar):
                bar.show(self._caption(bar.size.width or self.size.width))

    def _caption(self, width: int) -> tuple[Line, ...]:
        playing = self.conductor
        beat, place = playing.beat, f"{playing.at + 1}/{len(playing.script)}"
        scene, text, keys = beat.scene, beat.caption, PAUSED if playing.paused else PLAYING
        if playing.part is Part.OVER:
            keys = "any key takes over  ctrl+q ends"
        elif playing.part is Part.YOURS:
            scene, place, text, keys = "The console", "", YOURS, ""
            if playing.trouble:
                text = f"The demo waited for {playing.trouble}, in vain. {YOURS}"
        return caption_lines(scene, place, text, keys, width, self.glyphs)

    # Keys: the conductor's own, and the presenter's

    def press_key(self, name: str) -> None:
        """Press a key in the conductor's name: a character, or Textual's name of a key."""
        character = name if len(name) == 1 else None
        self._type(events.Key(_NAMED.get(name, name), character))

    def _type(self, key: events.Key) -> None:
        # Also what the gate held back and types again: it was the conductor's, or taken already.
        self._own.append(key)
        super()._type(key)

    async def on_event(self, event: events.Event) -> None:
        """Every event of the terminal; while the demo plays, the presenter's keys are for it."""
        # A forwarded key has been here before: what nobody wanted comes back.
        if isinstance(event, events.Key) and not event.is_forwarded:
            if any(own is event for own in self._own):
                self._own = [own for own in self._own if own is not event]
            elif self._conducts(event.key):
                return
        elif isinstance(event, events.MouseDown) and self._conducts("mouse"):
            return
        await super().on_event(event)

    def _conducts(self, key: str) -> bool:
        """Take a key of the presenter's, or a click; False once the console is theirs."""
        playing = self.conductor
        if key == "ctrl+q":
            self.end()
            return True
        if playing.part is Part.YOURS:
            return False
        if key == "ctrl+c":
            self.end()
        elif key == "space" and playing.part is Part.PLAYING:
            playing.pause()
        elif key == "n" and playing.part is Part.PLAYING:
            playing.next()
        else:
            self.workers.cancel_group(self, "demo")
            playing.part = Part.YOURS
        self.tell()
        return True

    # What the script does behind the scenes

    def leap(self, seconds: float) -> None:
        """Move the clock of engine and screen on."""
        self.demo_clock.leap(seconds)

    def upgrade(self) -> None:
        """Install the newer backend."""
        self._stage.upgrade()
