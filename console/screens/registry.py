"""The compatibility registry: what passed and failed on which backend version."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.binding import BindingType

from console.bindings import bindings_for
from console.commands import REGISTRY
from console.line import Line
from console.panels import registry_heading, registry_lines
from console.screens.listing import Listing
from console.screens.page import MOVES
from engine import RegistryRow

ORDERS = ("time", "model", "outcome")


class RegistryScreen(Listing):
    """The registry's newest rows; enter goes to the model of the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(REGISTRY), *MOVES]
    EMPTY = "nothing has been proved or refuted yet"
    where = REGISTRY

    def __init__(self) -> None:
        super().__init__()
        self._order = ORDERS[0]
        self._shown = 0

    def rows(self, width: int, now: float) -> Sequence[tuple[Hashable, Line]]:
        """The filtered rows in the operator's order."""
        rows = [row for row in self.lmx.snapshot.registry if self.matches(*_texts(row))]
        if self._order == "model":
            rows.sort(key=lambda row: (row.model_id.casefold(), -row.ts))
        elif self._order == "outcome":
            rows.sort(key=lambda row: (row.outcome, -row.ts))
        self._shown = len(rows)
        if not rows:
            return ()
        lines = registry_lines(rows, width, now, self.glyphs)
        return [(_key(row), line) for row, line in zip(rows, lines, strict=True)]

    def caption(self) -> tuple[str, str]:
        """How many of how many, and in which order."""
        snapshot = self.lmx.snapshot
        total = max(snapshot.registry_total, len(snapshot.registry))
        subtitle = f"by {self._order}" + (f", filter: {self.filter[:30]}" if self.filter else "")
        return f"Registry {self._shown:,} of {total:,}", subtitle

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
