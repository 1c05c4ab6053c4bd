"""Where a chat message is written: Enter sends, ctrl+j breaks the line."""

from textual import events
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """A small text box. It hands on the keys that belong to the chat around it."""

    class Sent(Message):
        """Enter was pressed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Scrolled(Message):
        """A key that moves the transcript."""

        def __init__(self, how: str) -> None:
            super().__init__()
            self.how = how

    class Copied(Message):
        """The key that copies the last answer."""

    class Prompted(Message):
        """The key that shows the prompt."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(
            id=id,
            compact=True,
            highlight_cursor_line=False,
            placeholder="Say something; enter sends",
        )
        self.cursor_blink = False

    async def on_key(self, event: events.Key) -> None:
        """Take the chat's own keys; the rest is typing."""
        scrolls = {"pageup": "page_up", "pagedown": "page_down"}
        if event.key == "enter":
            self.post_message(self.Sent(self.text))
        elif event.key == "ctrl+j":
            self.insert("\n")
        elif event.key in scrolls:
            self.post_message(self.Scrolled(scrolls[event.key]))
        elif event.key == "ctrl+c":
            if self.selected_text:
                self.action_copy()
            else:
                await self.app.run_action("interrupt")
        elif event.key == "f6":
            self.post_message(self.Copied())
        elif event.key == "f7":
            self.post_message(self.Prompted())
        else:
            return
        event.stop()
        event.prevent_default()
