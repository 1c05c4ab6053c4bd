"""The Registry panel: the newest verdicts."""

from console.widgets.lines import LinePanel


class RegistryPanel(LinePanel):
    """Lines from ``console.panels.registry_lines``."""
