"""Loading although a check refuses: every blocker is listed, and the name has to be typed."""

import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input, Label

from console.line import Cell, Line, shorten, tidy
from console.modals.dialog import Body, Dialog
from console.modals.fields import FieldError, number_of
from console.paragraph import labelled, paragraph, safe
from console.report import CHECK_SIGNS
from console.status import Glyphs
from console.units import GB
from engine import Check, Code, Explanation, LoadOptions, ModelView


def last_part(model_id: str, glyphs: Glyphs) -> str:
    """What has to be typed: the id as displayed, after its last slash."""
    shown = tidy(model_id, ascii_only=glyphs.ascii_only).strip()
    return shown.rstrip("/").rpartition("/")[2].strip() or shown or "model"


def is_memory(check: Check) -> bool:
    """Memory alone is overridden by a stated reservation."""
    return check.code == Code.INSUFFICIENT_MEMORY


class OverrideDialog(Dialog[LoadOptions | None]):
    """Ask for an override on the record.

    Args:
        model: The model as it stood at the key press.
        explanation: The gate's whole answer to a load without the override.
        deaf_s: How long keys count as typed ahead.
        clock: Seconds that never go back.
    """

    AUTO_FOCUS = ""
    WIDTH = 78
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll(-1)", "up", id="override.up", show=False),
        Binding("down", "scroll(1)", "down", id="override.down", show=False),
    ]

    def __init__(
        self,
        model: ModelView,
        explanation: Explanation,
        *,
        deaf_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        title = f"Override and load {shorten(tidy(model.id), 48)}"
        super().__init__(title, model=model, deaf_s=deaf_s, clock=clock)
        self._subject = model
        blockers = explanation.blockers
        self.skipped = tuple(check for check in blockers if check.overridable)
        self.memory = tuple(check for check in blockers if is_memory(check))
        self.hard = tuple(c for c in blockers if not c.overridable and not is_memory(c))
        self._estimate = explanation.estimate
        self._wrong = ""
        """Why Enter did nothing, until something else is typed."""

    @property
    def hopeless(self) -> bool:
        """True if no typed name could make this load pass the gate."""
        return bool(self.hard) or not (self.skipped or self.memory)

    def compose(self) -> ComposeResult:
        """The blockers, the fields, the buttons."""
        with self.box() as box:
            box.add_class("-danger")
            yield Body(id="body")
            if self.memory and not self.hopeless:
                with Horizontal(classes="row"):
                    yield Label("reserve GB")
                    yield self._field("reserve", 12)
                    yield Label(self._reserve_hint(), classes="hint")
            if not self.hopeless:
                with Horizontal(classes="row"):
                    yield Label("its name")
                    yield self._field("name", 400)
            with Horizontal(classes="buttons"):
                yield Button("Back" if self.hopeless else "Cancel", id="cancel", compact=True)
                if not self.hopeless:
                    yield Button("Override and load", id="confirm", compact=True,
                                 classes="-danger", disabled=True)  # fmt: skip

    def _field(self, name: str, longest: int) -> Input:
        field = Input(id=name, compact=True, max_length=longest)
        field.cursor_blink = False
        field.set_class(name == "name", "-wide")
        return field

    def _reserve_hint(self) -> str:
        if self._estimate is None:
            return "what you say it takes"
        return f"estimated at {self._estimate.total / GB:,.1f}"

    def on_mount(self) -> None:
        """Focus on the first thing to fill in; with nothing to type, on Cancel."""
        first = "#cancel" if self.hopeless else "#reserve" if self.memory else "#name"
        self.query_one(first).focus()

    def redraw(self) -> None:
        """Every blocker: what an override skips, what it does not."""
        width = self.inner
        lines: list[Line] = []
        if self.hard:
            text = (
                "An override would not help: the load would be refused all the same. "
                "Mend first what no override skips."
            )
            lines += paragraph(text, width, "bad")
        elif self.hopeless:
            lines += paragraph("Nothing blocks this model: load it with l.", width, "ok")
        for title, checks in (
            ("No override skips:", self.hard),
            ("The override would skip:", self.skipped),
            ("Not skipped; a reservation you state replaces it:", self.memory),
        ):
            if checks:
                lines.append((Cell(f" {title}", "head"),))
                lines += [line for check in checks for line in self._blocker(check)]
        if not self.hopeless:
            lines += self._ask_lines()
        if self._wrong:
            lines += paragraph(safe(self._wrong, self.glyphs), width, "bad")
        lines += self.changed_lines()
        rows = 0 if self.hopeless else 1 + bool(self.memory)
        room = self.tallest - 4 - rows
        body = self.query_one("#body", Body)
        body.fit(lines, room)
        self.mark(f"{len(lines)} lines, up and down scroll" if len(lines) > room else "")
        if self._wrong:  # said last, where it is asked
            self.call_after_refresh(body.scroll_end, animate=False, immediate=True)
        self._judge()

    def _ask_lines(self) -> list[Line]:
        name = last_part(self._subject.id, self.glyphs)
        if self.skipped:
            text = "The risk is yours: on record, and a badge until unload. Type to go on:"
        else:
            text = "Only memory blocks: a reservation is enough, no badge. Type to go on:"
        lines = paragraph(text, self.inner)
        return [(), *lines, *paragraph(name, self.inner, "name", indent=3)]

    def _blocker(self, check: Check) -> list[Line]:
        glyphs, width = self.glyphs, self.inner
        sign = CHECK_SIGNS[check.result]
        head = (
            Cell(f" {glyphs.of(sign)} ", "warn" if check.overridable else "bad"),
            Cell(tidy(check.check), "name"),
            Cell("  " + tidy(check.code or "", limit=40), "dim"),
        )
        lines: list[Line] = [head]
        remedy = "" if check.overridable else check.remedy
        for label, text, style in (
            ("reason", check.message, "text"),
            ("expected", check.expected, "text"),
            ("found", check.found, "text"),
            ("remedy", remedy, "warn"),
        ):
            told = safe(text, glyphs, limit=600)
            lines += [
                (Cell("  "), *line) for line in labelled(label, told, width - 2, style, column=9)
            ]
        return lines

    def _reserve(self) -> float | None:
        if not self.memory:
            return None
        return number_of(self.query_one("#reserve", Input).value, "reserve GB")

    def _lack(self) -> str:
        """What still keeps the button locked, in words; empty once nothing does."""
        typed = self.query_one("#name", Input).value.strip()
        try:
            stated = self._reserve()
        except FieldError as error:
            return str(error)
        name = last_part(self._subject.id, self.glyphs)
        if self.memory and not stated:
            return "state how many GB to reserve"
        if typed != name:
            return f"that is not its name: type {name}" if typed else f"type its name: {name}"
        return ""

    def _judge(self) -> None:
        """Arm the button for the right name, a reservation where one is needed, and no news."""
        if not self.hopeless:
            locked = bool(self._lack()) or bool(self.changed)
            self.query_one("#confirm", Button).disabled = locked

    def on_input_changed(self, event: Input.Changed) -> None:
        """Judge at every key."""
        event.stop()
        if self._wrong:
            self._wrong = ""
            self.redraw()
        self._judge()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the last field confirms once armed; in another it moves on."""
        event.stop()
        if event.input.id == "reserve":
            self.query_one("#name").focus()
        else:
            self.action_confirm()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button, by key or mouse."""
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.action_cancel()

    def action_confirm(self) -> None:
        """Answer with the override if the button is armed, else say what is missing."""
        if self.hopeless or self.changed:
            return
        self._wrong = self._lack()
        if self._wrong:
            self.redraw()
        elif not self.settled:
            self.swallowed()
        else:
            skip = bool(self.skipped)
            self.dismiss(LoadOptions(allow_unsupported_runtime=skip, reserve_gb=self._reserve()))
