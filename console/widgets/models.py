"""The Models panel: rows of models, selected by id and never by place."""

from collections.abc import Sequence

from textual import events
from textual.message import Message

from console.line import Line
from console.widgets.lines import LinePanel


class ModelsPanel(LinePanel):
    """One row for each model; the cursor follows the selected id wherever its row goes."""

    class Chosen(Message):
        """A row was clicked."""

        def __init__(self, model_id: str) -> None:
            super().__init__()
            self.model_id = model_id

    ids: tuple[str, ...] = ()

    def show_models(
        self, ids: tuple[str, ...], rows: Sequence[Line], heading: Line, selected: str | None
    ) -> None:
        """Show these rows, with the cursor on the row of ``selected`` if it is among them."""
        self.ids = ids
        cursor = ids.index(selected) if selected in ids else None
        self.show(rows, heading=heading, cursor=cursor)

    def neighbour(self, selected: str | None, how: str) -> str | None:
        """The id a movement leads to from ``selected``; None if there are no rows."""
        if not self.ids:
            return None
        last = len(self.ids) - 1
        page = max(self.size.height - 2, 1)
        if selected not in self.ids:
            return self.ids[last if how == "last" else 0]
        at = self.ids.index(selected)
        target = {
            "up": at - 1,
            "down": at + 1,
            "page_up": at - page,
            "page_down": at + page,
            "first": 0,
            "last": last,
        }[how]
        return self.ids[min(max(target, 0), last)]

    def on_click(self, event: events.Click) -> None:
        """Select the row under the mouse."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        index = offset.y - 1 + int(self.scroll_offset.y)
        if offset.y >= 1 and 0 <= index < len(self.ids):
            self.post_message(self.Chosen(self.ids[index]))
