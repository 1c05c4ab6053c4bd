"""Glyph, word and colour of every state, in one place; each of the three is enough alone."""

from dataclasses import dataclass, replace

from console.units import span_text
from engine import Code, HostState, ModelView, Readiness, StepResult


@dataclass(frozen=True, slots=True)
class Sign:
    """How a state looks. ``style`` is a style name; both glyphs are one column wide."""

    glyph: str
    ascii: str
    word: str
    style: str


SIGNS: dict[str, Sign] = {
    Readiness.UNLOADED: Sign("·", ".", "unloaded", "idle"),
    Readiness.ADMITTED: Sign("○", "o", "admitted", "busy"),
    Readiness.LOADING: Sign("◐", "~", "loading", "busy"),
    Readiness.CANARY_PENDING: Sign("◇", "?", "canary_pending", "proof"),
    Readiness.ROUTABLE: Sign("●", "+", "routable", "ok"),
    Readiness.QUARANTINED: Sign("✕", "x", "quarantined", "bad"),
    "refused": Sign("!", "!", "refused", "refused"),
    "draining": Sign("▽", "v", "draining", "busy"),
    "back-off": Sign("◌", "@", "back-off", "warn"),
    "STALE": Sign("□", "=", "STALE", "warn"),
    "host lost": Sign("■", "#", "host lost", "idle"),
}
"""By readiness, and the states a row can show besides: its own, and those of its host."""

HOST_SIGNS: dict[HostState, Sign] = {
    HostState.OK: Sign("●", "+", "up", "ok"),
    HostState.STALE: SIGNS["STALE"],
    HostState.LOST: Sign("■", "#", "LOST", "bad"),
}

STEP_SIGNS: dict[StepResult, Sign] = {
    StepResult.PENDING: Sign("·", ".", "pending", "idle"),
    StepResult.RUNNING: Sign("▸", ">", "running", "proof"),
    StepResult.PASS: Sign("✓", "+", "pass", "ok"),
    StepResult.FAIL: Sign("✕", "x", "fail", "bad"),
    StepResult.WARN: Sign("!", "!", "warn", "warn"),
    StepResult.SKIPPED: Sign("-", "-", "skipped", "idle"),
}

SHORT_CODES: dict[Code, str] = {
    Code.MODEL_NOT_FOUND: "not found",
    Code.MODEL_INCOMPLETE: "incomplete",
    Code.MODEL_UNSAFE: "unsafe",
    Code.MODEL_UNSUPPORTED_BACKEND: "backend",
    Code.MODEL_UNSUPPORTED_ARCH: "architecture",
    Code.INSUFFICIENT_MEMORY: "memory",
    Code.MODEL_LOAD_TIMEOUT: "load timeout",
    Code.MODEL_LOADER_CRASHED: "loader crashed",
    Code.MODEL_CANARY_FAILED: "canary failed",
    Code.MODEL_UNSTABLE: "unstable",
    Code.SHUTTING_DOWN: "shutting down",
    Code.UNKNOWN_FAILURE: "unknown failure",
}
"""A code in the width of a STATE column."""

LIVE = frozenset(
    {Readiness.ADMITTED, Readiness.LOADING, Readiness.CANARY_PENDING, Readiness.ROUTABLE}
)
"""The states in which a model holds memory; in the others nothing it once had is its own."""

SIMULATED = "sim"
OVERRIDE = "OVERRIDE"
STRIKE, NO_STRIKE = "●", "○"
STRIKE_ASCII, NO_STRIKE_ASCII = "x", "o"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The character set of this terminal."""

    ascii_only: bool = False

    def of(self, sign: Sign) -> str:
        """The sign's glyph in this set."""
        return sign.ascii if self.ascii_only else sign.glyph

    @property
    def ellipsis(self) -> str:
        """What marks a cut."""
        return "~" if self.ascii_only else "…"

    @property
    def dot(self) -> str:
        """What separates two facts on one line."""
        return "-" if self.ascii_only else "·"

    @property
    def arrow(self) -> str:
        """From one state to another."""
        return "->" if self.ascii_only else "→"

    def strikes(self, count: int, limit: int) -> str:
        """Strikes against the limit: ``●○○``, or ``xoo``."""
        struck, clear = (STRIKE_ASCII, NO_STRIKE_ASCII) if self.ascii_only else (STRIKE, NO_STRIKE)
        limit = max(limit, 0)
        count = min(max(count, 0), limit)
        return struck * count + clear * (limit - count)


def sign_of(model: ModelView, host: HostState = HostState.OK) -> Sign:
    """The sign a row shows: the readiness, unless it is refused, draining or in back-off.

    Args:
        host: How its host is. What is quarantined is so wherever it is.
    """
    sign = _own_sign(model)
    if host is HostState.STALE:
        style = "idle" if sign.style == "idle" else SIGNS["STALE"].style
        return replace(SIGNS["STALE"], word=f"STALE {sign.word}", style=style)
    if host is HostState.LOST and model.readiness is not Readiness.QUARANTINED:
        return SIGNS["host lost"]
    return sign


def _own_sign(model: ModelView) -> Sign:
    if model.draining:
        return SIGNS["draining"]
    if model.retry_at is not None and model.readiness is Readiness.LOADING:
        return SIGNS["back-off"]
    if model.readiness is Readiness.UNLOADED and model.refusal is not None:
        return SIGNS["refused"]
    return SIGNS[model.readiness]


def state_text(model: ModelView, now: float, host: HostState = HostState.OK) -> str:
    """The state in words and figures: ``loading 42 %``, ``canary_pending 5/9``; of a host that is
    not heard only the word, since its figures are old."""
    sign = sign_of(model, host)
    if host is not HostState.OK:
        return sign.word
    if sign.word == "back-off" and model.retry_at is not None:
        return f"{sign.word} {span_text(model.retry_at - now)}"
    if sign.word == "draining" and model.drain_until is not None and model.requests:
        return f"{sign.word} {span_text(model.drain_until - now)}"
    if sign.word == "refused" and model.refusal is not None:
        code = model.refusal.code
        return f"{sign.word}: {SHORT_CODES.get(code, code.replace('_', ' '))}"
    if sign.word == "loading":
        word = model.stage or sign.word
        return word if model.progress is None else f"{word} {model.progress * 100:.0f} %"
    if sign.word == "canary_pending" and model.canary is not None:
        return f"{sign.word} {model.canary.done}/{len(model.canary.steps)}"
    if model.probation and model.readiness in (Readiness.ADMITTED, Readiness.ROUTABLE):
        return f"{sign.word}, probation"
    return sign.word
