"""The lines above the footer: what the selected model says, and the latest news."""

from console.widgets.lines import LinePanel


class NoteLines(LinePanel, can_focus=False):
    """Two lines about the selected model: refusal and remedy, last failure, or its facts."""


class EventLine(LinePanel, can_focus=False):
    """The newest event, or the answer to the operator's last key."""
