"""One model from all sides: state, canary, history, memory, timeline, admission, evidence."""

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import DETAIL
from console.dossier import Papers, dossier_of
from console.line import Cell, Line, shorten, tidy
from console.screens.page import MOVES, Drawing, Page
from console.status import SIMULATED
from engine import Decision, EngineError, Explanation, ModelView, OutOfReach, RegistryRow

HISTORY = 20
"""Rows of the registry told of one model; ``R`` and a filter show more."""

JUMPS = (
    ("1", "model"),
    ("2", "canary"),
    ("3", "quarantine"),
    ("4", "memory"),
    ("5", "timeline"),
    ("6", "evidence"),
    ("7", "history"),
    ("8", "admission"),
)


class DetailScreen(Page):
    """Everything known of one model, as it stands now.

    Args:
        model_id: Whose.
        section: Where to open, one of ``JUMPS``.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(DETAIL),
        *MOVES,
        *(
            Binding(key, f"section('{name}')", name, id=f"detail.{name}", show=False)
            for key, name in JUMPS
        ),
        Binding("f5", "again", "again", id="detail.again", show=False),
    ]
    KEYS = (("1-8", "sections"), ("f5", "again"))
    where = DETAIL

    def __init__(self, model_id: str, section: str = "model") -> None:
        super().__init__()
        self.target_id = model_id
        self._places: dict[str, int] = {}
        self._aim: str | None = section if section != "model" else None
        """The section to stand at until all that stands above it has arrived."""
        self._history: tuple[RegistryRow, ...] | None = None
        self._explanation: Explanation | Decision | None = None
        self._known: Hashable = None

    def on_mount(self) -> None:
        """Read the registry and ask the gate."""
        self.action_again()

    def action_again(self) -> None:
        """Read the registry and ask the gate again."""
        self.run_worker(self._read(), group="history", exclusive=True, exit_on_error=False)
        self.run_worker(self._ask(), group="gate", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        model_id, engine = self.target_id or "", self.lmx.engine
        try:
            self._history = await engine.rows(model_id, limit=HISTORY)
        except (EngineError, OutOfReach):
            rows = self.lmx.snapshot.registry
            self._history = tuple(row for row in rows if row.model_id == model_id)[:HISTORY]
        self.redraw()

    async def _ask(self) -> None:
        try:
            self._explanation = await self.lmx.engine.explain(self.target_id or "")
        except EngineError as error:
            self._explanation = error.decision
        self.redraw()

    def _keep_up(self, model: ModelView) -> None:
        """Read again what the model's own steps change: its rows with the registry, what the gate
        says with its readiness."""
        snapshot = self.lmx.snapshot
        known = (snapshot.registry_total, model.version, snapshot.started)
        if self._known is not None and known != self._known:
            self.action_again()
        self._known = known

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
        self._keep_up(model)
        host = snapshot.host_of(model) if len(snapshot.hosts) > 1 else None
        papers = Papers(case, self._history, self._explanation, host)
        told = dossier_of(model, papers, snapshot.memory_of(model), width, now, glyphs)
        self._places = told.places
        return Drawing(title, told.lines)

    def drawn(self) -> None:
        """Keep to the section asked for while its place still moves."""
        if self._aim is not None and self._places:
            self.call_after_refresh(self._go, self._aim)
            if self._history is not None and self._explanation is not None:
                self._aim = None

    def action_section(self, name: str) -> None:
        """Go to a section; a model without a quarantine shows its evidence for it."""
        self._aim = name
        self._go(name)
        self.drawn()

    def action_move(self, how: str) -> None:
        """Scroll: from here on the page stays where it was put."""
        self._aim = None
        super().action_move(how)

    def _go(self, name: str) -> None:
        place = self._places.get(name, self._places.get("evidence", 0))
        self.sheet.scroll_to(y=place, animate=False)
