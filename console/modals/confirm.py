"""A question with a dangerous answer: the focus is on Cancel, keys typed ahead decide nothing."""

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button

from console.line import Line, tidy
from console.modals.dialog import Body, Dialog
from console.paragraph import paragraph, safe
from engine import ModelView


class ConfirmDialog(Dialog[bool]):
    """Ask before something is ended or changed; answers True only for the confirm button or ``y``.

    Args:
        heading: What would be done, with the model's name.
        lines: What changes and who is affected, one paragraph each.
        confirm_label: The word on the button that does it.
        danger: Colours the box and the button.
        model: The model as it stood at the key press; if it moves meanwhile the dialog says so and
            only Cancel is left, since the engine would refuse the stale decision anyway.
        deaf_s: How long keys count as typed ahead.
        clock: Seconds that never go back.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "yes", id="confirm.yes", show=False),
        Binding("n", "cancel", "no", id="confirm.no", show=False),
        Binding("left,right", "app.focus_next", "other", id="confirm.other", show=False),
    ]

    def __init__(
        self,
        heading: str,
        lines: Sequence[str],
        confirm_label: str,
        danger: bool = True,
        *,
        model: ModelView | None = None,
        deaf_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(heading, model=model, deaf_s=deaf_s, clock=clock)
        self._text = tuple(lines)
        self._confirm_label = confirm_label
        self._danger = danger

    def compose(self) -> ComposeResult:
        """The lines, then Cancel and the act."""
        with self.box() as box:
            box.set_class(self._danger, "-danger")
            yield Body(id="body")
            with Horizontal(classes="buttons"):
                yield Button("Cancel (n)", id="cancel", compact=True)
                yield Button(
                    Content(f"{tidy(self._confirm_label, limit=24)} (y)"),
                    id="confirm",
                    compact=True,
                    classes="-danger" if self._danger else "",
                )

    def redraw(self) -> None:
        """The paragraphs, and whether the model moved."""
        lines: list[Line] = [()]
        for text in self._text:
            lines += paragraph(safe(text, self.glyphs, limit=2000), self.inner)
        lines += self.changed_lines()
        self.query_one(Body).fit(lines, self.tallest - 6)
        confirm = self.query_one("#confirm", Button)
        if confirm.disabled is not bool(self.changed):
            confirm.disabled = bool(self.changed)
            self.query_one("#cancel").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button, by key or mouse."""
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_cancel()

    def action_confirm(self) -> None:
        """Answer yes, unless it is too early or the model has moved."""
        if not self.settled:
            self.swallowed()
        elif not self.changed:
            self.dismiss(True)

    def action_cancel(self) -> None:
        """Answer no."""
        self.dismiss(False)
