"""The admission report: every check of the gate with its answer, without loading anything."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import EXPLAIN
from console.line import Cell, Line, shorten, tidy
from console.paragraph import labelled, paragraph, safe
from console.report import checks_lines, decision_lines, estimate_lines, verdict_line
from console.screens.page import MOVES, Drawing, Page
from engine import Decision, EngineError, Explanation


class ExplainScreen(Page):
    """Runs the gate once and shows what it said; ``f5`` runs it again.

    Args:
        model_id: Whose.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(EXPLAIN),
        *MOVES,
        Binding("f5", "again", "again", id="explain.again", show=False),
    ]
    KEYS = (("f5", "again"),)
    where = EXPLAIN

    def __init__(self, model_id: str) -> None:
        super().__init__()
        self.target_id = model_id
        self.answer: Explanation | Decision | str | None = None
        """The report, the refusal to give one, what went wrong, or None while it runs."""

    def on_mount(self) -> None:
        """Ask at once."""
        self.action_again()

    def action_again(self) -> None:
        """Run the gate again."""
        self.answer = None
        self.redraw()
        self.run_worker(self._ask(), group="explain", exclusive=True, exit_on_error=False)

    async def _ask(self) -> None:
        try:
            self.answer = await self.lmx.engine.explain(self.target_id or "")
        except EngineError as error:
            self.answer = error.decision
        except Exception as error:
            self.answer = f"the gate did not answer: {type(error).__name__}: {error}"
        self.redraw()

    def draw(self, width: int, now: float) -> Drawing:  # noqa: ARG002 - a report has no age
        """Verdict, what it was asked about, every check."""
        glyphs, answer = self.glyphs, self.answer
        model_id = tidy(self.target_id or "", ascii_only=glyphs.ascii_only)
        model = self.lmx.snapshot.model(self.target_id or "")
        mark = "  sim" if model is not None and model.simulated else ""
        room = width - 14 - len(mark)
        title = f"Explain {glyphs.dot} {shorten(model_id, room, glyphs.ellipsis)}{mark}"
        lines: list[Line]
        if answer is None:
            lines = [(Cell(" asking the gate", "dim"),)]
        elif isinstance(answer, str):
            lines = paragraph(safe(answer, glyphs, limit=1000), width, "bad")
        elif isinstance(answer, Decision):
            lines = decision_lines(answer, width, glyphs)
        else:
            lines = self._report(answer, width)
        return Drawing(title, lines)

    def _report(self, answer: Explanation, width: int) -> list[Line]:
        glyphs = self.glyphs
        lines: list[Line] = [verdict_line(answer, width, glyphs)]
        snapshot = self.lmx.snapshot
        model = snapshot.model(self.target_id or "")
        memory = snapshot.memory if model is None else snapshot.memory_of(model)
        lines += [*estimate_lines(answer.estimate, memory, width, glyphs), ()]
        lines += checks_lines(answer.checks, width, glyphs)
        lines.append(())
        version = f"{answer.backend or 'no backend'} {glyphs.dot} {answer.backend_version}"
        for label, text in (
            ("path", answer.path),
            ("backend", version),
            ("runtime", answer.runtime),
            ("fingerprint", answer.fingerprint),
        ):
            shown = tidy(text, ascii_only=glyphs.ascii_only, limit=600)
            lines += labelled(label, shown, width, "dim")
        return lines
