"""One model from all sides: state, identity, canary, memory, timeline, evidence."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import DETAIL
from console.dossier import dossier_of
from console.line import Cell, Line, shorten, tidy
from console.screens.page import MOVES, Drawing, Page
from console.status import SIMULATED

JUMPS = (
    ("1", "model"),
    ("2", "canary"),
    ("3", "quarantine"),
    ("4", "memory"),
    ("5", "timeline"),
    ("6", "evidence"),
)


class DetailScreen(Page):
    """Everything known of one model, as it stands now.

    Args:
        model_id: Whose.
        section: Where to open: ``model``, ``canary``, ``quarantine``, ``memory``, ``timeline`` or
            ``evidence``.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(DETAIL),
        *MOVES,
        *(
            Binding(key, f"section('{name}')", name, id=f"detail.{name}", show=False)
            for key, name in JUMPS
        ),
    ]
    KEYS = (("2-6", "sections"),)
    where = DETAIL

    def __init__(self, model_id: str, section: str = "model") -> None:
        super().__init__()
        self.target_id = model_id
        self._places: dict[str, int] = {}
        self._first: str | None = section

    def draw(self, width: int, now: float) -> Drawing:
        """The dossier, or that the model is gone."""
        model_id, glyphs = self.target_id or "", self.glyphs
        snapshot = self.lmx.snapshot
        model = snapshot.model(model_id)
        mark = f" {SIMULATED}" if model is not None and model.simulated else ""
        room = width - 12 - len(mark)
        name = shorten(tidy(model_id, ascii_only=glyphs.ascii_only), room, glyphs.ellipsis)
        title = f"Model {glyphs.dot} {name}{mark}"
        if model is None:
            gone: Line = (Cell(" this model is no longer in the catalog", "warn"),)
            return Drawing(title, [gone])
        case = snapshot.case(model_id)
        told = dossier_of(model, case, width, now, glyphs)
        self._places = told.places
        return Drawing(title, told.lines)

    def drawn(self) -> None:
        """The first time, open at the section asked for."""
        if self._first is not None and self._places:
            section, self._first = self._first, None
            if section != "model":
                self.call_after_refresh(self.action_section, section)

    def action_section(self, name: str) -> None:
        """Go to a section; a model without a quarantine shows its evidence for it."""
        place = self._places.get(name, self._places.get("evidence", 0))
        self.sheet.scroll_to(y=place, animate=False)
