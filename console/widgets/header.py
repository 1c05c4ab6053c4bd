"""The top line and the lasting banners under it."""

from console.widgets.lines import LinePanel


class HeaderLine(LinePanel, can_focus=False):
    """Who, how fresh, memory, runtimes, and what an operator must not miss."""


class NoticeLines(LinePanel, can_focus=False):
    """Banners that stay until the house is mended; takes no room while there are none."""
