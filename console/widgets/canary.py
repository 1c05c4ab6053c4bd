"""The Canary panel: the selected model's proof, step by step."""

from console.widgets.lines import LinePanel


class CanaryPanel(LinePanel):
    """Lines from ``console.panels.canary_lines``."""
