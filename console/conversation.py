"""A test chat as it is kept: turns, answers as they came, what ended them, and their figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from console.line import Cell, Line
from console.paragraph import safe, wrap
from console.report import decision_lines
from console.status import Glyphs
from console.units import ms_text, rate_text, span_text
from engine import ChatEnd, ChatOptions, ChatTurn, Decision, clean, with_defaults

KEPT = 200
"""Exchanges kept for one model; older ones are forgotten, on screen and towards the model."""
SILENT_S = 3.0
"""Without a word for so long, an answer's speed is no longer told but its silence is."""


@dataclass(slots=True)
class Exchange:
    """One question and its answer. ``raw`` is for the model, ``shown`` for people."""

    question: str
    asked_at: float
    raw: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None
    end: ChatEnd | None = None
    decision: Decision | None = None
    trouble: str = ""
    cancelled_at: float | None = None
    """When the operator asked it to end; it may still take long to."""
    phase: str = ""
    """What the engine says it is doing before the first token, such as ``prefill 400 of 812``."""
    _wrapped: list[str] = field(default_factory=list)
    _width: int = 0
    _open: str = ""
    _taken: int = 0

    @property
    def running(self) -> bool:
        """True until it has ended in any way."""
        return self.end is None and self.decision is None and not self.trouble

    @property
    def answer(self) -> str:
        """The answer so far, safe to show or copy."""
        return "".join(self.shown)

    def add(self, text: str, tokens: int, now: float) -> None:
        """Take new words at Unix time ``now``."""
        if self.first_at is None:
            self.first_at = now
        self.last_at = now
        self.raw.append(text)
        self.shown.append(clean(text))
        self.tokens += tokens

    def finish(self, end: ChatEnd) -> None:
        """Take the end of the answer."""
        self.end = end
        self.decision = end.decision

    def wrapped(self, width: int, glyphs: Glyphs) -> list[str]:
        """The answer in lines of ``width`` columns; only what was added is wrapped again."""
        if width != self._width:
            self._width, self._wrapped, self._open, self._taken = width, [], "", 0
        if self._taken < len(self.shown):
            self._open += safe("".join(self.shown[self._taken :]), glyphs)
            self._taken = len(self.shown)
            whole, newline, rest = self._open.rpartition("\n")
            if newline:
                self._wrapped += wrap(whole, width)
                self._open = rest
        return [*self._wrapped, *wrap(self._open, width)] if self._open else list(self._wrapped)

    def figures(self, glyphs: Glyphs, now: float) -> str:
        """Time to first token, speed and token counts: measured by the engine once it has ended,
        by the console's clock until then."""
        dot = f" {glyphs.dot} "
        end = self.end
        if end is not None:
            read = f"{end.prompt_tokens:,} in, " if end.prompt_tokens else ""
            facts = (
                f"first token {ms_text(end.ttft_ms)}" if end.ttft_ms is not None else "",
                f"{rate_text(end.tokens_per_second)} tok/s" if end.tokens_per_second else "",
                f"{read}{end.completion_tokens or self.tokens:,} out",
                end.reason,
            )
            return dot.join(fact for fact in facts if fact)
        if self.cancelled_at is not None:
            waited = span_text(now - self.cancelled_at)
            return f"cancelling{dot}{waited}{dot}esc leaves without waiting for its end"
        if self.first_at is None:
            doing = self.phase or "waiting for the first token"
            return f"{doing}{dot}{span_text(now - self.asked_at)}"
        parts = [f"first token {ms_text((self.first_at - self.asked_at) * 1000)}"]
        last = self.last_at or self.first_at
        spent, silent = last - self.first_at, now - last
        if silent >= SILENT_S:
            parts.append(f"silent for {span_text(silent)}")
        elif spent > 0 and self.tokens > 1:
            parts.append(f"{rate_text((self.tokens - 1) / spent)} tok/s")
        parts.append(f"{self.tokens:,} out")
        return dot.join(parts)


@dataclass(slots=True)
class Conversation:
    """All exchanges with one model, and how the next one is asked."""

    model_id: str
    exchanges: list[Exchange] = field(default_factory=list)
    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    """None leaves it to the model's settings, as any client's silence does."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """The model's own defaults, from its settings."""
    draft: str = ""
    """What was written and not sent."""

    @property
    def running(self) -> Exchange | None:
        """The exchange in progress."""
        last = self.exchanges[-1] if self.exchanges else None
        return last if last is not None and last.running else None

    @property
    def options(self) -> ChatOptions:
        """How the next answer is drawn."""
        usual = with_defaults(ChatOptions(), frozenset(), self.sampling)
        return replace(
            usual,
            temperature=usual.temperature if self.temperature is None else self.temperature,
            max_tokens=usual.max_tokens if self.max_tokens is None else self.max_tokens,
        )

    @property
    def unseen_defaults(self) -> str:
        """The model's defaults that have no field of their own, in words; or empty."""
        others = {n: v for n, v in self.sampling.items() if n not in ("temperature", "max_tokens")}
        return ", ".join(f"{name} {value:g}" for name, value in others.items())

    def ask(self, question: str, now: float) -> Exchange:
        """Begin an exchange."""
        exchange = Exchange(question, now)
        self.exchanges.append(exchange)
        del self.exchanges[:-KEPT]
        return exchange

    def turns(self) -> tuple[ChatTurn, ...]:
        """What the model is sent: the system prompt, every exchange that was answered, and the
        one in progress. A question it was refused or died on is not put to it again."""
        turns = self._opening()
        for exchange in self.exchanges:
            if exchange.running:
                turns.append(ChatTurn("user", exchange.question))
            else:
                turns += _answered(exchange)
        return tuple(turns)

    def prompt_turns(self, draft: str = "") -> tuple[ChatTurn, ...]:
        """What the model would be sent with this draft; without one, what it was sent last, also
        where it was refused or died on it: that is when the prompt is wanted most."""
        turns = self._opening()
        for exchange in self.exchanges if draft else self.exchanges[:-1]:
            turns += _answered(exchange)
        if draft or self.exchanges:
            turns.append(ChatTurn("user", draft or self.exchanges[-1].question))
        return tuple(turns)

    def _opening(self) -> list[ChatTurn]:
        return [ChatTurn("system", self.system)] if self.system.strip() else []

    def last_answer(self) -> str:
        """The newest answer that has any words, safe to copy."""
        return next((e.answer for e in reversed(self.exchanges) if e.shown), "")


def _answered(exchange: Exchange) -> list[ChatTurn]:
    """Question and answer of an exchange that came to a good end; nothing of any other."""
    if exchange.running or exchange.decision is not None or exchange.trouble or not exchange.raw:
        return []
    answer = ChatTurn("assistant", "".join(exchange.raw))
    return [ChatTurn("user", exchange.question), answer]


def transcript(conversation: Conversation, width: int, glyphs: Glyphs, now: float) -> list[Line]:
    """The whole conversation in lines."""
    lines: list[Line] = []
    bar = "|" if glyphs.ascii_only else "▌"
    for exchange in conversation.exchanges:
        if lines:
            lines.append(())
        question = safe(exchange.question, glyphs)
        lines += [
            (Cell(f" {bar} ", "proof"), Cell(part, "name")) for part in wrap(question, width - 4)
        ]
        lines += [(Cell("   "), Cell(part)) for part in exchange.wrapped(width - 4, glyphs)]
        if exchange.decision is not None:
            lines += [
                (Cell("  "), *line) for line in decision_lines(exchange.decision, width - 3, glyphs)
            ]
        elif exchange.trouble:
            trouble = safe(exchange.trouble, glyphs, limit=1000)
            lines += [(Cell("   "), Cell(part, "bad")) for part in wrap(trouble, width - 4)]
        if exchange.running or exchange.end is not None:
            lines.append((Cell("   "), Cell(exchange.figures(glyphs, now), "dim")))
    return lines
