"""The filter line: narrows the Models panel while it is typed."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from console.gate import CHASE_S

if TYPE_CHECKING:
    from console.app import LmxApp


class FilterBar(Horizontal):
    """``/`` and an input. Enter keeps the filter, esc clears it; both give the focus back."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; }
    FilterBar.-open { display: block; }
    FilterBar > Static { width: 3; }
    FilterBar > Input { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(False)", "clear", show=False, id="filter.clear"),
        Binding("down,enter", "leave(True)", "keep", show=False, id="filter.keep"),
    ]

    class Changed(Message):
        """The text changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The operator is done typing."""

    def compose(self) -> ComposeResult:
        """A slash and an input whose cursor does not blink: a blink costs 1.9 kB/s."""
        yield Static(" /", markup=False)
        box = Input(compact=True, max_length=120, select_on_focus=False)
        box.cursor_blink = False
        yield box

    @property
    def text(self) -> str:
        """What is typed."""
        return self.query_one(Input).value

    def open(self) -> None:
        """Show the line and take the focus. Keys close behind ``/`` wait for that: on the screen
        below every letter is a command."""
        gate = cast("LmxApp", self.app).gate
        ticket = gate.close()
        self.set_timer(CHASE_S, lambda: gate.open(ticket=ticket))
        self.add_class("-open")
        self.query_one(Input).focus()

    def on_descendant_focus(self) -> None:
        """The line is there: whatever was typed for it may come."""
        cast("LmxApp", self.app).gate.open()

    def put(self, text: str) -> None:
        """Filter by this, as if it had been typed."""
        self.query_one(Input).value = text

    def clear(self) -> None:
        """Drop the filter and hide the line."""
        self.query_one(Input).value = ""
        self.remove_class("-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hand the text on."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: keep the filter."""
        event.stop()
        self.action_leave(True)

    def action_leave(self, keep: bool) -> None:
        """Hide the line, with or without its text."""
        if not keep or not self.text:
            self.clear()
        self.remove_class("-open")
        self.post_message(self.Left())
