"""The Quarantine panel: who gets no traffic, why, and from when a release is due."""

from console.widgets.lines import LinePanel


class QuarantinePanel(LinePanel):
    """Lines from ``console.panels.quarantine_lines``."""
