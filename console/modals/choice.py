"""One of a few values, changed with the left and right keys; as wide as its widest value."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from console.line import tidy


class Choice(Widget, can_focus=True):
    """A focusable line that shows one value out of several.

    Args:
        values: What there is to choose from, at least one; shown as plain text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "previous", id="choice.previous", show=False),
        Binding("right,space", "step(1)", "next", id="choice.next", show=False),
    ]
    index: reactive[int] = reactive(0)

    class Changed(Message):
        """Another value was chosen."""

    def __init__(self, values: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.values = tuple(values)

    @property
    def value(self) -> str:
        """The chosen value, as it was given."""
        return self.values[self.index]

    def render(self) -> Content:
        """The value between the arrows that change it."""
        shown = tidy(self.value, limit=60)
        return Content(f" {shown} ") if len(self.values) < 2 else Content(f"< {shown} >")

    def action_step(self, by: int) -> None:
        """Choose the next or previous value, round and round."""
        if len(self.values) > 1:
            self.index = (self.index + by) % len(self.values)
            self.post_message(self.Changed())
