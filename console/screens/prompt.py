"""The prompt a chat becomes: every word and special token as the model reads it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from console.bindings import bindings_for
from console.commands import PROMPT
from console.line import Cell, Line, shorten, tidy
from console.paragraph import paragraph, safe
from console.report import decision_lines
from console.screens.page import MOVES, Drawing, Page
from console.whereabouts import asked_as
from engine import ChatTurn, Decision, EngineError

SHOWN = 200_000
"""Characters of a prompt a screen takes; a longer one shows its end, where the newest turn is."""


class PromptScreen(Page):
    """Has the model's worker render the conversation once; ``f5`` does it again.

    Args:
        model_id: Whose template.
        turns: What it renders.
        asked: Whether this was sent already, or would be.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_for(PROMPT),
        *MOVES,
        Binding("f5", "again", "again", id="prompt.again", show=False),
    ]
    KEYS = (("f5", "again"),)
    where = PROMPT

    def __init__(self, model_id: str, turns: Sequence[ChatTurn], *, asked: bool) -> None:
        super().__init__()
        self.target_id = model_id
        self._turns = tuple(turns)
        self._asked = asked
        self.answer: str | Decision | None = None
        """The prompt, the refusal to give one, or None while it is rendered."""
        self._trouble = ""
        self._drawn: tuple[int, str, list[Line]] | None = None

    def on_mount(self) -> None:
        """Ask at once."""
        self.action_again()

    def action_again(self) -> None:
        """Render again."""
        self.answer, self._trouble = None, ""
        self.redraw()
        self.run_worker(self._ask(), group="prompt", exclusive=True, exit_on_error=False)

    async def _ask(self) -> None:
        try:
            name = asked_as(self.lmx.snapshot, self.target_id or "")
            self.answer = await self.lmx.engine.render(name, self._turns)
        except EngineError as error:
            self.answer = error.decision
        except Exception as error:
            self._trouble = f"no prompt: {type(error).__name__}: {error}"
        self.redraw()

    def draw(self, width: int, now: float) -> Drawing:  # noqa: ARG002 - a prompt has no age
        """The prompt, line by line."""
        glyphs, answer = self.glyphs, self.answer
        name = tidy(self.target_id or "", ascii_only=glyphs.ascii_only)
        title = f"Prompt {glyphs.dot} {shorten(name, width - 14, glyphs.ellipsis)}"
        when = "as it was sent" if self._asked else "as it would be sent"
        if self._trouble:
            return Drawing(title, paragraph(safe(self._trouble, glyphs, limit=1000), width, "bad"))
        if answer is None:
            return Drawing(title, [(Cell(" its worker renders it", "dim"),)], when)
        if isinstance(answer, Decision):
            return Drawing(title, decision_lines(answer, width, glyphs), when)
        return Drawing(title, self._lines(answer, width), f"{when}, {len(answer):,} characters")

    def _lines(self, prompt: str, width: int) -> list[Line]:
        if self._drawn is None or self._drawn[:2] != (width, prompt):
            lines = paragraph(safe(prompt[-SHOWN:], self.glyphs), width)
            if len(prompt) > SHOWN:
                cut = f" {self.glyphs.ellipsis} its last {SHOWN:,} characters"
                lines.insert(0, (Cell(cut, "warn"),))
            self._drawn = (width, prompt, lines)
        return self._drawn[2]

    @property
    def copy_text(self) -> str:
        """The prompt, safe to paste and not wrapped."""
        return safe(self.answer, self.glyphs) if isinstance(self.answer, str) else ""
