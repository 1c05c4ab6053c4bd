"""What each command does: fix the target, ask if it must be asked, then tell the engine.

Every function runs in a worker of the app and may raise EngineError, which the app turns into
words on the event line. The target and its version are those of the key press: if the model has
moved since, the engine refuses with ``conflict`` instead of doing it to another state.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from textual.screen import ModalScreen, Screen

from console.commands import Selection
from console.units import span_text
from console.whereabouts import bereft
from console.wording import reason_words
from engine import EngineSnapshot, Explanation, LoadOptions, ModelView, Readiness

if TYPE_CHECKING:
    from console.app import LmxApp

Answer = TypeVar("Answer")
ASKING_GATE = "asking the gate…"
RELAPSES = "It is on probation: this puts it back into quarantine."
_NAMED = 8
Action = Callable[["LmxApp", Selection], Awaitable[None]]


async def ask(app: "LmxApp", dialog: ModalScreen[Answer]) -> Answer | None:
    """Show a dialog and wait for its answer; None if another dialog is already open."""
    if app.screen.is_modal:
        app.gate.open(drop=True)
        return None
    return await app.push_screen_wait(dialog)


async def show(app: "LmxApp", screen: Screen[None]) -> None:
    """Open a screen, unless one of its kind is already in front."""
    if not app.screen.is_modal and type(app.screen) is not type(screen):
        await app.push_screen(screen)


def _model(selection: Selection) -> ModelView:
    if selection.model is None:  # enabled() has already said so to the operator
        raise LookupError("no model is selected")
    return selection.model


async def load(app: "LmxApp", selection: Selection) -> None:
    """The load dialog, which puts the load to the engine and tells its refusal."""
    from console.modals.load import LoadDialog

    model = _model(selection)

    async def explain(options: LoadOptions) -> Explanation:
        return await app.engine.explain(model.id, options)

    async def put(options: LoadOptions) -> None:
        await app.engine.load(model.id, options, actor=app.actor, expect=model.version)

    await ask(app, LoadDialog(model, selection.snapshot, explain, put))


async def override(app: "LmxApp", selection: Selection) -> None:
    """Every blocker listed and the name typed, then the load with the override on record."""
    from console.modals.override import OverrideDialog

    model = _model(selection)
    app.report(ASKING_GATE, model_id=model.id)
    explanation = await app.engine.explain(model.id, LoadOptions())
    options = await ask(app, OverrideDialog(model, explanation))
    if options is not None:
        await app.engine.load(model.id, options, actor=app.actor, expect=model.version)


async def unload(app: "LmxApp", selection: Selection) -> None:
    """A confirm that names the model and the requests that drain, then the unload."""
    from console.modals.confirm import ConfirmDialog

    model = _model(selection)
    if bereft(model, selection.snapshot.host_of(model)):
        lines = [f"It was lost with {model.host}. Nothing loads it again by itself then."]
    else:
        lines = [f"{model.id} is {model.readiness}.", *_draining(selection.snapshot, model)]
    lines += _elsewhere(selection.snapshot, model)
    if model.probation:
        lines.append(RELAPSES)
    if await ask(app, ConfirmDialog(f"Unload {model.id}?", lines, "Unload", model=model)):
        await app.engine.unload(model.id, actor=app.actor, expect=model.version)


def _draining(snapshot: EngineSnapshot, model: ModelView) -> list[str]:
    """One line for each request an unload would wait for, five at most."""
    requests = [r for r in snapshot.requests if r.model_id == model.id]
    if not requests:
        return ["No request is in flight."]
    lines = [f"{len(requests)} in flight will drain first:"]
    lines += [f"  {r.client}  {r.phase}  {r.generated} tokens so far" for r in requests[:5]]
    if len(requests) > 5:
        lines.append(f"  and {len(requests) - 5} more")
    return lines


def _elsewhere(snapshot: EngineSnapshot, model: ModelView) -> list[str]:
    """Lines about the copies of this model on other hosts, where there are any: a row is one, and
    what an operator wants to know is whether the model still answers."""
    others = [m for m in snapshot.models if m.family == model.family and m is not model]
    if not model.family or not others:
        return []
    serving = [m.host for m in others if m.readiness is Readiness.ROUTABLE]
    left = _named(serving, "Still routable on") or ["No other copy is routable."]
    return [f"Only the copy on {model.host}.", *left]


async def chat(app: "LmxApp", selection: Selection) -> None:
    """Open a test chat."""
    from console.screens.chat import ChatScreen

    await show(app, ChatScreen(_model(selection).id))


async def explain(app: "LmxApp", selection: Selection) -> None:
    """Open the admission report."""
    from console.screens.explain import ExplainScreen

    await show(app, ExplainScreen(_model(selection).id))


async def release(app: "LmxApp", selection: Selection) -> None:
    """Release; a held model or one still cooling down only after a confirm."""
    from console.modals.confirm import ConfirmDialog

    model = _model(selection)
    case = selection.snapshot.case(model.id)
    early = case is not None and case.eligible_at > app.clock()
    if case is not None and (early or case.held):
        lines = [f"Quarantined: {reason_words(case.reason) or 'no reason kept'}."]
        if case.held:
            lines.append("An operator holds it.")
        if early:
            lines.append(f"Its cool-down ends in {span_text(case.eligible_at - app.clock())}.")
        lines.append("It goes through the gate and a new canary, on probation: one failure, or an "
                     "unload before it has earned its release, puts it back.")  # fmt: skip
        title = f"Release {model.id} early?" if early else f"Release {model.id}?"
        if not await ask(app, ConfirmDialog(title, lines, "Release", danger=False, model=model)):
            return
    app.gate.open()
    app.report(ASKING_GATE, model_id=model.id)
    await app.engine.release(model.id, actor=app.actor, expect=model.version, early=early)


async def hold(app: "LmxApp", selection: Selection) -> None:
    """Quarantine by hand, after a confirm."""
    from console.modals.confirm import ConfirmDialog

    model = _model(selection)
    lines = [f"{model.id} is {model.readiness}; it gets no traffic until you release it (r)."]
    if model.readiness is not Readiness.UNLOADED:
        lines += _draining(selection.snapshot, model)
    lines += _elsewhere(selection.snapshot, model)
    if await ask(app, ConfirmDialog(f"Hold {model.id}?", lines, "Hold", model=model)):
        await app.engine.hold(model.id, actor=app.actor, expect=model.version)


async def canary(app: "LmxApp", selection: Selection) -> None:
    """Run the canary again, in service."""
    model = _model(selection)
    app.report("asking for a canary…", model_id=model.id)
    await app.engine.canary(model.id, actor=app.actor, expect=model.version)


async def prove(app: "LmxApp", selection: Selection) -> None:
    """Offer to prove the models of an older backend version again; while that runs, to stop it."""
    from console.modals.confirm import ConfirmDialog

    snapshot = selection.snapshot
    if left := snapshot.proving:
        lines = [f"{left[0]} is under trial.", *_named(left[1:], "Still to come")]
        lines.append("The model under trial is unloaded; what was proved stays proved.")
        heading = "Stop proving models again?"
        if await ask(app, ConfirmDialog(heading, lines, "Stop", danger=False)):
            await app.engine.stop_proving(actor=app.actor)
        return
    # One that took the machine down is proved by an operator who is there, and by nobody else.
    unclean = {model.id for model in snapshot.models if model.unclean}
    chosen = [model_id for model_id in snapshot.outdated if model_id not in unclean]
    left_out = [model_id for model_id in snapshot.outdated if model_id in unclean]
    if not chosen:
        app.report(f"left out, the machine went down with them: {', '.join(left_out)}", "warn")
        return
    lines = _named(chosen, "Last tried on another backend version")
    lines.append("One after another is loaded, proved and unloaded in the background, where there "
                 "is room. What is in service stays in service.")  # fmt: skip
    lines += _named(left_out, "Left out, the machine went down with them")
    what = "this model" if len(chosen) == 1 else f"{len(chosen)} models"
    if await ask(app, ConfirmDialog(f"Prove {what} again?", lines, "Prove", danger=False)):
        await app.engine.prove_outdated(chosen, actor=app.actor)


def _named(model_ids: Sequence[str], what: str) -> list[str]:
    """A line with the first eight names, or none."""
    if not model_ids:
        return []
    more = f" and {len(model_ids) - _NAMED} more" if len(model_ids) > _NAMED else ""
    return [f"{what}: {', '.join(model_ids[:_NAMED])}{more}."]


async def details(app: "LmxApp", selection: Selection) -> None:
    """Open the model's detail screen."""
    from console.screens.detail import DetailScreen

    await show(app, DetailScreen(_model(selection).id))


async def requests(app: "LmxApp", _: Selection) -> None:
    """Open the requests in flight."""
    from console.screens.requests import RequestsScreen

    await show(app, RequestsScreen())


async def registry(app: "LmxApp", _: Selection) -> None:
    """Open the registry."""
    from console.screens.registry import RegistryScreen

    await show(app, RegistryScreen())


async def hosts(app: "LmxApp", _: Selection) -> None:
    """Open the hosts."""
    from console.screens.hosts import HostsScreen

    await show(app, HostsScreen())


async def log(app: "LmxApp", _: Selection) -> None:
    """Open the event log."""
    from console.screens.log import LogScreen

    await show(app, LogScreen())


async def help_(app: "LmxApp", _: Selection) -> None:
    """Open the help."""
    from console.screens.help import HelpScreen

    await show(app, HelpScreen(app.commands))


async def rescan(app: "LmxApp", _: Selection) -> None:
    """Look at the disk again."""
    await app.engine.rescan()
    app.report("looked for models again")


async def quit_(app: "LmxApp", selection: Selection) -> None:
    """End; ask first while anything is live, naming models and requests. What a console is
    attached to goes on without it: only an answer that still comes is asked about."""
    from console.modals.confirm import ConfirmDialog
    from console.modals.quit import QuitDialog

    snapshot = app.pump.latest or selection.snapshot
    if app.attached:
        if _listening(app) and not await ask(
            app, ConfirmDialog("Leave?", ["An answer still comes; it would be cancelled."], "Leave")
        ):
            return
        app.end()
        return
    resting = (Readiness.UNLOADED, Readiness.QUARANTINED)
    live = [model.id for model in snapshot.models if model.readiness not in resting]
    relapsing = sum(model.probation and model.id in live for model in snapshot.models)
    detach = app.may_detach and app.departure.serves
    dialog = QuitDialog(live, len(snapshot.requests), relapsing=relapsing, detach=detach)
    if not live:
        app.end()
        return
    answer = await ask(app, dialog)
    if answer == "detach":
        app.departure.detach()
    elif answer == "stop":
        app.end()


def _listening(app: "LmxApp") -> bool:
    """Whether a test chat of this console is being answered."""
    return any(getattr(screen, "listening", False) for screen in app.screen_stack)


ACTIONS: dict[str, Action] = {
    "load": load,
    "override": override,
    "unload": unload,
    "chat": chat,
    "explain": explain,
    "release": release,
    "hold": hold,
    "canary": canary,
    "prove": prove,
    "details": details,
    "requests": requests,
    "registry": registry,
    "hosts": hosts,
    "log": log,
    "help": help_,
    "rescan": rescan,
    "quit": quit_,
}
"""By command id; the other commands belong to the screen or to the app itself."""
