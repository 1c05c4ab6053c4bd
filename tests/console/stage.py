"""What the tests of dialogs and screens share: a console on a state, and what its strips hold."""

from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen

from console.app import LmxApp
from engine import Check, CheckResult, Code, Decision, Explanation, ModelView
from tests.console import gallery

SIZE = (80, 24)
HOSTILE = (
    "evil\x1b[31m\x1b]0;own\x07[/red][bold]\u202eorg/" + "n" * 140 + "\x9b2J\u2066[@click=quit]"
)
"""Escapes, a title sequence, markup, bidi overrides, a C1 control, over 200 characters."""


def plain(app: LmxApp) -> str:
    """Everything on the screen as text, read from the strips that would be written."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def assert_harmless(text: str) -> None:
    """No control byte, bidi override or lone surrogate is in it."""
    bad = [c for c in text if c != "\n" and (c < " " or "\x7f" <= c <= "\x9f")]
    bad += [c for c in text if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f"]
    assert not bad, bad


async def open_screen(app: LmxApp, pilot: Pilot[None], screen: Screen[Any]) -> list[Any]:
    """Show a screen or dialog on the engine's present state; its answer lands in the list."""
    answers: list[Any] = []
    await settle(pilot)
    await app.push_screen(screen, answers.append)
    await settle(pilot)
    return answers


async def settle(pilot: Pilot[None]) -> None:
    """Pull the engine and let every message be handled."""
    pilot.app.pump.pull()  # type: ignore[attr-defined]
    for _ in range(4):
        await pilot.pause()


async def until(pilot: Pilot[None], true: Callable[[], bool], *, turns: int = 200) -> None:
    """Let the app work until something is true."""
    for _ in range(turns):
        if true():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never became true")


def before(
    build: Callable[[], Screen[Any]], *keys: str
) -> Callable[[Pilot[None]], Awaitable[None]]:
    """For a snapshot: open a screen, press keys, wait until nothing moves."""

    async def run(pilot: Pilot[None]) -> None:
        await open_screen(pilot.app, pilot, build())  # type: ignore[arg-type]
        await pilot.press(*keys)
        await settle(pilot)
        await settle(pilot)

    return run


def _passed(name: str, found: str) -> Check:
    return Check(name, CheckResult.PASS, "", found)


ARCHITECTURE = Check(
    "architecture",
    CheckResult.FAIL,
    "one of the 112 architectures of mlx-lm 0.32.2",
    "glm_moe_dsa",
    code="model_unsupported_arch",
    message="mlx-lm 0.32.2 does not know the architecture glm_moe_dsa",
    remedy="upgrade mlx-lm, or override (o)",
    overridable=True,
)
SIGNATURE = Check(
    "signature",
    CheckResult.FAIL,
    "no known-bad signature",
    "glm_moe_dsa on mlx-lm <0.33",
    code="model_unsupported_backend",
    message="known to give NaN logits on this version",
    remedy="upgrade mlx-lm to 0.33, or override (o)",
    overridable=True,
)
MEMORY = Check(
    "memory",
    CheckResult.FAIL,
    "185 GB free",
    "204 GB needed",
    code="insufficient_memory",
    message="204 GB needed, 185 GB free",
    remedy="unload MiniMax-M2.5-4bit (121 GB), or state reserve_gb",
)
INCOMPLETE = Check(
    "complete",
    CheckResult.FAIL,
    "34 shards",
    "31 shards",
    code="model_incomplete",
    message="3 of 34 shards are missing",
    remedy="download the model again",
)
GOOD = (
    _passed("quarantine", "not quarantined"),
    _passed("present", "a model"),
    _passed("safe", "no code in its folder"),
)


def report(model: ModelView, *blockers: Check) -> Explanation:
    """The gate's answer with these checks failing."""
    decision: Decision | None = None
    if blockers:
        first = blockers[0]
        decision = gallery.refusal(
            Code(first.code or "unknown_failure"),
            message=first.message,
            check=first.check,
            expected=first.expected,
            found=first.found,
            remedy=first.remedy,
            overridable=first.overridable,
        )
    return Explanation(
        model_id=model.id,
        path=model.path,
        backend=model.backend,
        backend_version=model.backend_version,
        runtime="installed",
        admitted=not blockers,
        checks=(*GOOD, *blockers),
        decision=decision,
        estimate=model.estimate,
        fingerprint="fp-8c1d20",
    )
