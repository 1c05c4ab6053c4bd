"""Requests in flight: who asks what, how far it is, and a key that cancels one."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import REQUESTS
from console.line import Cell, Line, left, right, shorten, tidy
from console.screens.listing import Listing
from console.screens.page import MOVES
from console.status import SIMULATED
from console.units import span_text
from engine import EngineError, RequestView

_PHASE, _TOKENS, _AGE = 22, 8, 8


class RequestsScreen(Listing):
    """One row for each request in flight, oldest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(REQUESTS),
        *MOVES,
        Binding("x", "cancel", "cancel", id="requests.cancel", show=False),
    ]
    KEYS = (("x", "cancel"),)
    FILTERED = False
    EMPTY = "no request is in flight"
    where = REQUESTS

    def rows(self, width: int, now: float) -> tuple[Sequence[Hashable], Sequence[Line]]:
        """Client, model, phase, tokens, age."""
        requests = sorted(self.lmx.snapshot.requests, key=lambda r: (r.started_at, r.id))
        return [r.id for r in requests], [self._row(r, width, now) for r in requests]

    def _row(self, request: RequestView, width: int, now: float) -> Line:
        glyphs = self.glyphs
        client, model = self._columns(width)

        def name(text: str, columns: int) -> str:
            shown = tidy(text, ascii_only=glyphs.ascii_only)
            return left(shorten(shown, columns, glyphs.ellipsis), columns)

        asked = self.lmx.snapshot.model(request.model_id)
        simulated = asked is not None and asked.simulated
        mark = len(SIMULATED) + 1 if simulated else 0
        phase = request.phase
        if phase == "prefill":
            phase = f"prefill {request.prefilled:,} of {request.prompt_tokens:,}"
        style = {"queued": "idle", "prefill": "busy", "decode": "ok"}.get(request.phase, "text")
        return (
            Cell(" " + name(request.client, client) + "  ", "name"),
            Cell(name(request.model_id, model - mark), "text"),
            Cell(f" {SIMULATED}  " if simulated else "  ", "sim" if simulated else "text"),
            Cell(left(tidy(phase), _PHASE), style),
            Cell(right(f"{request.generated:,}", _TOKENS), "text"),
            Cell(right(span_text(now - request.started_at), _AGE), "dim"),
        )

    @staticmethod
    def _columns(width: int) -> tuple[int, int]:
        rest = max(width - _PHASE - _TOKENS - _AGE - 6, 20)
        return rest * 2 // 5, rest - rest * 2 // 5

    def caption(self) -> tuple[str, str]:
        """How many."""
        return f"Requests {len(self.lmx.snapshot.requests)}", ""

    def heading(self, width: int) -> Line:
        """The column heads."""
        client, model = self._columns(width)
        text = f" {left('CLIENT', client)}  {left('MODEL', model)}  {left('PHASE', _PHASE)}"
        return (Cell(text + right("TOKENS", _TOKENS) + right("AGE", _AGE), "head"),)

    def command_filter(self) -> None:
        """There is none here."""

    def action_cancel(self) -> None:
        """Cancel the request chosen at this key press."""
        if self.lmx.readonly:
            self.lmx.report("this console is read-only", "warn")
        elif isinstance(self.chosen, str):
            self.run_worker(self._cancel(self.chosen), group="cancel", exit_on_error=False)
        else:
            self.lmx.report("no request is chosen", "warn")

    async def _cancel(self, request_id: str) -> None:
        try:
            await self.lmx.engine.cancel(request_id, actor=self.lmx.actor)
        except EngineError as error:
            self.lmx.report(error.decision)
        except Exception as error:
            self.lmx.report(f"that did not work: {type(error).__name__}: {error}", "error")
