"""What a script is made of: beats, the acts in them, and the conditions they wait for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.widgets import Input

from console.status import LIVE
from console.widgets.lines import LinePanel
from engine import Readiness, StepResult

if TYPE_CHECKING:
    from console.app import LmxApp

Condition = Callable[["LmxApp"], bool]
"""Whether something is so; asked again until it is."""


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys by name, one after the other."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Type a text into the empty field that has the focus."""

    text: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Move the cursor to a model, by the keys an operator would use."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until something is so. ``what`` says it to a presenter who waits in vain."""

    what: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Leap:
    """Move the demo's clock on, in seconds: nobody should sit through a cool-down."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Install a newer version of the simulated backend."""


Act = Press | Say | Choose | Await | Leap | Upgrade


@dataclass(frozen=True, slots=True)
class Beat:
    """One moment of the demo: a caption, what is done meanwhile, and the time to read it.

    ``name`` names its picture, ``filmed`` puts that into the moving one. ``read_s`` is how long it
    stays at pace 1 once its acts are done.
    """

    name: str
    scene: str
    caption: str
    acts: tuple[Act, ...] = ()
    read_s: float = 6.0
    filmed: bool = True


def press(*keys: str) -> Press:
    """Press keys."""
    return Press(keys)


def shows(text: str) -> Await:
    """Wait until the screen in front says it."""
    return Await(f"the screen to say {text!r}", lambda app: text in text_of(app))


def gone(text: str) -> Await:
    """Wait until the screen in front says it no longer."""
    return Await(f"{text!r} to leave the screen", lambda app: text not in text_of(app))


def on(screen: str) -> Await:
    """Wait until a screen or dialog is in front, by the name of its class, and takes keys."""
    return Await(f"the {screen}", lambda app: _in_front(app, screen))


def focus(name: str) -> Await:
    """Wait until the keys go to the widget of this id."""

    def check(app: "LmxApp") -> bool:
        focused = app.screen.focused
        return focused is not None and focused.id == name and not app.gate.closed

    return Await(f"the focus on {name}", check)


def scrolled() -> Await:
    """Wait until the sheet in front has been moved."""

    def check(app: "LmxApp") -> bool:
        return any(sheet.scroll_offset.y > 0 for sheet in app.screen.query("#sheet"))

    return Await("the sheet to scroll", check)


def chosen(model_id: str) -> Await:
    """Wait until the cursor stands on a model."""

    def check(app: "LmxApp") -> bool:
        return getattr(app.screen, "target_id", None) == model_id

    return Await(f"{model_id} to be chosen", check)


def holds(text: str) -> Await:
    """Wait until the field with the focus holds just this."""

    def check(app: "LmxApp") -> bool:
        field = app.screen.focused
        held = field.value if isinstance(field, Input) else getattr(field, "text", None)
        return held == text

    return Await(f"{text!r} to be typed", check)


def stands(model_id: str, *readiness: Readiness) -> Await:
    """Wait until a model is in one of these states."""
    words = " or ".join(state.value for state in readiness)
    return Await(f"{model_id} to be {words}", lambda app: _readiness(app, model_id) in readiness)


def under_way(model_id: str) -> Await:
    """Wait until a model's load tells how far it is, or is done."""

    def check(app: "LmxApp") -> bool:
        model = app.snapshot.model(model_id)
        done = (Readiness.CANARY_PENDING, Readiness.ROUTABLE)
        return model is not None and (model.progress is not None or model.readiness in done)

    return Await(f"the load of {model_id} to be under way", check)


def refused(model_id: str) -> Await:
    """Wait until the gate has turned a model away."""

    def check(app: "LmxApp") -> bool:
        model = app.snapshot.model(model_id)
        return model is not None and model.refusal is not None

    return Await(f"{model_id} to be refused", check)


def struck(model_id: str, times: int) -> Await:
    """Wait until a model has just so many strikes."""

    def check(app: "LmxApp") -> bool:
        model = app.snapshot.model(model_id)
        return model is not None and model.strikes == times

    return Await(f"{model_id} to have {times} strikes", check)


def proving(model_id: str, step: str) -> Await:
    """Wait until a model's canary has come to a step."""

    def check(app: "LmxApp") -> bool:
        model = app.snapshot.model(model_id)
        run = model.canary if model is not None else None
        return run is not None and any(
            found.name == step and found.result is not StepResult.PENDING for found in run.steps
        )

    return Await(f"the canary of {model_id} to come to {step}", check)


def returned() -> Await:
    """Wait until memory is promised to live models alone."""

    def check(app: "LmxApp") -> bool:
        live = [model for model in app.snapshot.models if model.readiness in LIVE]
        promised = sum(model.estimate.total for model in live if model.estimate)
        return app.snapshot.memory.reserved == promised

    return Await("the memory to be back", check)


def eligible(model_id: str) -> Await:
    """Wait until a quarantined model's cool-down is over."""

    def check(app: "LmxApp") -> bool:
        cases = {case.model_id: case for case in app.snapshot.quarantine}
        return model_id in cases and cases[model_id].eligible_at <= app.clock()

    return Await(f"the cool-down of {model_id} to be over", check)


def text_of(app: "LmxApp") -> str:
    """Every line the screen in front holds, below the caption."""
    panels = app.screen.query(LinePanel).results(LinePanel)
    lines = [line for panel in panels if panel.id != "caption" for line in panel.lines]
    return "\n".join("".join(cell.text for cell in line) for line in lines)


def _in_front(app: "LmxApp", screen: str) -> bool:
    # A dialog is deaf for a moment, and the gate holds keys until it can be seen: those typed ahead
    # decide nothing.
    ready = getattr(app.screen, "settled", True) and not app.gate.closed
    return type(app.screen).__name__ == screen and app.screen.is_mounted and bool(ready)


def _readiness(app: "LmxApp", model_id: str) -> Readiness | None:
    model = app.snapshot.model(model_id)
    return None if model is None else model.readiness
