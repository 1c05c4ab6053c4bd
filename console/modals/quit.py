"""Leaving while models serve: what would end is named, and the focus is on Back."""

import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button

from console.line import Cell, Line, shorten, tidy
from console.modals.dialog import Body, Dialog
from console.paragraph import paragraph

_NAMED = 8


class QuitDialog(Dialog[Literal["stop", "detach", "back"]]):
    """Ask before the engine stops.

    Args:
        models: Ids of the models that hold memory, as displayed.
        relapsing: How many of them are on probation and would be quarantined again.
        requests: How many requests are in flight.
        detach: Whether the engine could go on without the screen.
        deaf_s: How long keys count as typed ahead.
        clock: Seconds that never go back.
    """

    WIDTH = 64
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,s", "stop_engine", "stop", id="quit.stop", show=False),
        Binding("d", "detach", "detach", id="quit.detach", show=False),
        Binding("n,b", "cancel", "back", id="quit.back", show=False),
        Binding("left,right", "app.focus_next", "other", id="quit.other", show=False),
    ]

    def __init__(
        self,
        models: Sequence[str],
        requests: int,
        *,
        relapsing: int = 0,
        detach: bool = False,
        deaf_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("Stop the engine and leave?", deaf_s=deaf_s, clock=clock)
        self._models = tuple(models)
        self._requests = requests
        self._relapsing = relapsing
        self._offers_detach = detach

    def compose(self) -> ComposeResult:
        """What would end, then Back, Detach and Stop."""
        with self.box() as box:
            box.add_class("-danger")
            yield Body(id="body")
            with Horizontal(classes="buttons"):
                yield Button("Back (n)", id="cancel", compact=True)
                if self._offers_detach:
                    yield Button("Detach (d)", id="detach", compact=True)
                yield Button("Stop (y)", id="stop", compact=True, classes="-danger")

    def redraw(self) -> None:
        """Name the models, count the requests."""
        glyphs, count = self.glyphs, len(self._models)
        what = "1 model is live" if count == 1 else f"{count} models are live"
        lines: list[Line] = [(), (Cell(f" {what} and would be unloaded:"),)]
        for name in self._models[:_NAMED]:
            shown = tidy(name, ascii_only=glyphs.ascii_only)
            lines.append(
                (Cell("   "), Cell(shorten(shown, self.inner - 4, glyphs.ellipsis), "name"))
            )
        if count > _NAMED:
            lines.append((Cell(f"   and {count - _NAMED} more", "dim"),))
        lines.append(())
        if self._relapsing:
            text = f"{self._relapsing} on probation would go back to quarantine."
            lines += paragraph(text, self.inner, "warn")
        if self._requests:
            are = "1 request is" if self._requests == 1 else f"{self._requests} requests are"
            lines += paragraph(f"{are} in flight and would be cancelled.", self.inner, "bad")
        else:
            lines += paragraph("No request is in flight.", self.inner, "dim")
        if self._offers_detach:
            text = "Detached, all of it goes on without this screen; lmx comes back to it."
            lines += paragraph(text, self.inner)
        self.query_one(Body).fit(lines, self.tallest - 6)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button, by key or mouse."""
        event.stop()
        if event.button.id == "stop":
            self.action_stop_engine()
        elif event.button.id == "detach":
            self.action_detach()
        else:
            self.action_cancel()

    def action_stop_engine(self) -> None:
        """Answer stop, unless it is too early to be meant."""
        if self.settled:
            self.dismiss("stop")
        else:
            self.swallowed()

    def action_detach(self) -> None:
        """Answer detach, where that is offered."""
        if self._offers_detach and self.settled:
            self.dismiss("detach")
        else:
            self.swallowed()

    def action_cancel(self) -> None:
        """Answer back."""
        self.dismiss("back")
