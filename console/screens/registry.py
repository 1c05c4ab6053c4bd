"""The compatibility registry: what passed and failed on which backend version."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.binding import BindingType

from console.bindings import bindings_for
from console.commands import REGISTRY
from console.history import joined
from console.line import DrawnLines, Line
from console.panels import registry_heading, registry_lines
from console.screens.listing import Listing
from console.screens.page import MOVES
from engine import EngineError, OutOfReach, RegistryRow

ORDERS = ("time", "model", "outcome")
HELD = 5_000
"""Rows a screen holds. Fetching them keeps others from the registry for 0.1 s (measured);
``lmx registry list`` has no bound."""


class RegistryScreen(Listing):
    """The registry's newest rows; enter goes to the model of the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(REGISTRY), *MOVES]
    EMPTY = "nothing has been proved or refuted yet"
    where = REGISTRY

    def __init__(self) -> None:
        super().__init__()
        self._order = ORDERS[0]
        self._held: tuple[RegistryRow, ...] = ()
        self._shown: tuple[Hashable, ...] = ()
        """The keys of the rows in the operator's order."""
        self._drawn: Sequence[Line] = ()
        self._seen: Hashable = None
        self._fetching = False

    def on_mount(self) -> None:
        """Fetch what the snapshot does not show."""
        self._fetch()

    def _fetch(self) -> None:
        if not self._fetching:
            self._fetching = True
            self.run_worker(self._take(), group="rows", exit_on_error=False)

    async def _take(self) -> None:
        try:
            self._held = await self.lmx.engine.rows(limit=HELD)
        except (EngineError, OutOfReach):
            self._held = self.lmx.snapshot.registry
        finally:
            self._fetching = False
        self.redraw()

    def _known(self) -> tuple[RegistryRow, ...]:
        """The rows held and what came since."""
        newest = self.lmx.snapshot.registry
        if not self._held:
            return newest
        rows = joined(newest, self._held)
        if rows is None:
            self._fetch()
            return self._held
        if rows is not newest and len(rows) != len(self._held):
            self._held = rows[:HELD]
        return self._held

    def rows(self, width: int, now: float) -> tuple[Sequence[Hashable], Sequence[Line]]:
        """The filtered rows in the operator's order, each drawn once it is in sight."""
        known = self._known()
        seen = (len(known), known[:1] and _key(known[0]), self.filter, self._order, width)
        if (seen, int(now // 86_400)) != self._seen:
            self._seen = (seen, int(now // 86_400))
            rows = [row for row in known if self.matches(*_texts(row))]
            if self._order == "model":
                rows.sort(key=lambda row: (row.model_id.casefold(), -row.ts))
            elif self._order == "outcome":
                rows.sort(key=lambda row: (row.outcome, -row.ts))
            self._shown = tuple(_key(row) for row in rows)

            def draw(index: int) -> Line:
                return registry_lines((rows[index],), width, now, self.glyphs)[0]

            self._drawn = DrawnLines(len(rows), draw)
        return self._shown, self._drawn

    def caption(self) -> tuple[str, str]:
        """How many of how many, and in which order."""
        snapshot = self.lmx.snapshot
        known = max(len(self._held), len(snapshot.registry))
        total = max(snapshot.registry_total, known)
        order = f"by {self._order}" + (f", filter: {self.filter[:30]}" if self.filter else "")
        if total > known and self._held:
            order = f"of the newest {known:,}, {order}"
        return f"Registry {len(self._shown):,} of {total:,}", order

    def heading(self, width: int) -> Line:
        """The column heads."""
        return registry_heading(width)

    @property
    def target_id(self) -> str | None:  # type: ignore[override]
        """The model of the chosen row."""
        return str(self.chosen[1]) if isinstance(self.chosen, tuple) else None

    def command_sort(self) -> None:
        """Order by the next key: time, model, outcome."""
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.redraw()


def _texts(row: RegistryRow) -> tuple[str, ...]:
    return (row.model_id, row.backend, row.backend_version, row.outcome, row.reason)


def _key(row: RegistryRow) -> Hashable:
    return (row.ts, row.model_id, row.outcome, row.reason)
