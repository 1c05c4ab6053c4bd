"""A snapshot as the presenter draws it, for tests that look at its lines."""

from typing import Any

from console.line import Line
from console.presenter import ViewOptions, arrange
from engine import EngineSnapshot
from tests.console.scripted import T0


def view(snapshot: EngineSnapshot, **fields: Any) -> ViewOptions:
    """How an 80-column screen asks for it, by name, but for ``fields``."""
    defaults: dict[str, Any] = {
        "width": 78,
        "side_width": 38,
        "note_width": fields.get("width", 78),
        "now": T0,
        "order": arrange(snapshot.models, "name"),
    }
    return ViewOptions(**{**defaults, **fields})


def text(line: Line) -> str:
    """A line without its styles and the space at its end."""
    return "".join(cell.text for cell in line).rstrip()
