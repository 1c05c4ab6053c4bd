"""The one table of what an operator can do: it feeds the bindings, the footer, the palette and the
help, so that none of them can promise a key the others do not know.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from console.whereabouts import bereft
from engine import Code, EngineSnapshot, ModelView, Readiness

DASHBOARD = "dashboard"
DETAIL = "detail"
REGISTRY = "registry"
LOG = "log"
REQUESTS = "requests"
EXPLAIN = "explain"
HOSTS = "hosts"
HELP = "help"
CHAT = "chat"
PROMPT = "prompt"

_MODEL = (DASHBOARD, DETAIL)
_LISTS = (DASHBOARD, DETAIL, REGISTRY, LOG, REQUESTS, HOSTS, EXPLAIN, PROMPT)
_ALL = (*_LISTS, HELP, CHAT)
_LIVE = (Readiness.ADMITTED, Readiness.LOADING, Readiness.CANARY_PENDING, Readiness.ROUTABLE)


class Danger(Enum):
    """What a command may do to others: nothing, change something, or end something."""

    NONE = "none"
    CHANGES = "changes"
    ENDS = "ends"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command would act on, fixed at the key press."""

    model: ModelView | None
    snapshot: EngineSnapshot
    readonly: bool = False
    where: str = DASHBOARD
    commands: "tuple[Command, ...] | None" = None
    """The table under the operator's own keys; None is the table as it stands."""


def always(_: Selection) -> str | None:
    """Applies whatever is selected."""
    return None


def _several_hosts(selection: Selection) -> bool:
    return len(selection.snapshot.hosts) > 1


def _any(_: Selection) -> bool:
    return True


def _needs_model(selection: Selection) -> str | None:
    return "no model is selected" if selection.model is None else None


def _load(selection: Selection) -> str | None:
    model = selection.model
    if model is None:
        return "no model is selected"
    if model.readiness is Readiness.QUARANTINED:
        return f"{Code.MODEL_UNSTABLE}: {model.id} is quarantined; release it (r)"
    if model.readiness in _LIVE:
        return f"{model.id} is already {model.readiness}"
    return None


def _override(selection: Selection) -> str | None:
    model = selection.model
    refused = _load(selection)
    if model is None or refused is not None:
        return refused
    if model.refusal is not None and not model.refusal.overridable:
        return f"an override does not skip {model.refusal.check or model.refusal.code}"
    return None


def _unload(selection: Selection) -> str | None:
    model = selection.model
    if model is None:
        return "no model is selected"
    if bereft(model, selection.snapshot.host_of(model)):
        return None  # it is waited for no longer
    if model.readiness not in _LIVE:
        return f"{model.id} is {model.readiness}: nothing to unload"
    if model.draining:
        return f"{model.id} is already draining"
    return None


def _routable(selection: Selection) -> str | None:
    model = selection.model
    if model is None:
        return "no model is selected"
    if model.readiness is Readiness.QUARANTINED:
        return f"{Code.MODEL_UNSTABLE}: {model.id} is quarantined, not routable"
    if model.readiness is not Readiness.ROUTABLE:
        return f"{model.id} is {model.readiness}, not routable"
    return "it is draining" if model.draining else None


def _release(selection: Selection) -> str | None:
    model = selection.model
    if model is None:
        return "no model is selected"
    if model.readiness is not Readiness.QUARANTINED:
        return f"{model.id} is {model.readiness}, not quarantined"
    return None


def _hold(selection: Selection) -> str | None:
    model = selection.model
    if model is None:
        return "no model is selected"
    if model.readiness is Readiness.QUARANTINED:
        return f"{model.id} is already quarantined"
    return None


def _prove(selection: Selection) -> str | None:
    snapshot = selection.snapshot
    if snapshot.outdated or snapshot.proving:
        return None
    return "nothing to prove again: no verdict is from another backend version"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing an operator can do.

    ``key`` is a comma list in Textual's spelling. ``enabled`` answers None where the command
    applies, or the reason it does not, said to whoever pressed the key. ``rank`` orders the
    footer, 0 keeps a command out of it; ``worth`` says whether a footer offers it here at all.
    """

    id: str
    key: str
    title: str
    help: str
    where: tuple[str, ...]
    danger: Danger = Danger.NONE
    enabled: Callable[[Selection], str | None] = always
    rank: int = 0
    group: str = "Model"
    worth: Callable[[Selection], bool] = _any

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys, one by one."""
        return tuple(self.key.split(","))

    @property
    def shown_key(self) -> str:
        """Its first key as written on a keyboard."""
        return KEY_NAMES.get(self.keys[0], self.keys[0])

    def key_on(self, where: str) -> str:
        """Its key as written on a keyboard; empty if it has none there: the chat takes letters."""
        for key in self.keys:
            shown = KEY_NAMES.get(key, key)
            if where != CHAT or len(shown) > 1:
                return shown
        return ""

    @property
    def needs_engine(self) -> bool:
        """Whether it asks something of the engine that only a started one can answer."""
        changes = self.danger is not Danger.NONE and self.id != "quit"
        return changes or self.id in ("explain", "rescan")

    def refusal(self, selection: Selection) -> str | None:
        """Why it cannot run on this selection, or None if it can."""
        if selection.readonly and self.danger is not Danger.NONE and self.id != "quit":
            return "this console is read-only"
        if self.needs_engine and not selection.snapshot.started:
            return "the engine has not started"
        return self.enabled(selection)


KEY_NAMES = {
    "colon": ":",
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "ctrl+p": "ctrl+p",
}

_C, _E = Danger.CHANGES, Danger.ENDS

COMMANDS: tuple[Command, ...] = (
    Command("load", "l", "load", "Load the model: runtime, context, keep-alive, then its canary",
            _MODEL, _C, _load, 10),
    Command("override", "o", "override", "Load although a compatibility check refuses; on record",
            _MODEL, _C, _override, 20),
    Command("unload", "u", "unload", "Drain the model's requests and end its worker",
            (*_MODEL, CHAT), _E, _unload, 30),
    Command("chat", "c", "chat", "Talk to a routable model", _MODEL, _C, _routable, 40),
    Command("explain", "e", "explain", "Run every admission check and show each answer",
            (*_MODEL, CHAT), Danger.NONE, _needs_model, 50),
    Command("release", "r", "release", "Let a quarantined model try again, through a new canary",
            _MODEL, _C, _release, 60),
    Command("hold", "h", "hold", "Quarantine the model by hand until it is released",
            _MODEL, _E, _hold, 110),
    Command("canary", "C", "canary", "Run the canary again on a routable model",
            (*_MODEL, REGISTRY), _C, _routable, 120),
    Command("prove", "A", "prove again", "Prove models again after a backend upgrade, or stop that",
            (DASHBOARD, REGISTRY), _C, _prove, 65),
    Command("details", "enter", "details", "Timeline, checks, canary history, memory, evidence",
            (DASHBOARD, REGISTRY), Danger.NONE, _needs_model, 70),
    Command("requests", "i", "requests", "Requests in flight: client, phase, age; x cancels one",
            (*_MODEL, CHAT), rank=130, group="Screens"),
    Command("registry", "R", "registry", "Everything that passed or failed, by backend version",
            _MODEL, rank=140, group="Screens"),
    Command("log", "L", "log", "The event log, with search and follow",
            (*_MODEL, CHAT), rank=150, group="Screens"),
    Command("hosts", "H", "hosts", "Each host: memory, devices, versions; enter shows its models",
            _MODEL, rank=75, group="Screens", worth=_several_hosts),
    Command("panel_models", "1", "models", "Go to the Models panel", (DASHBOARD,), group="Screens"),
    Command("panel_canary", "2", "canary panel", "Go to the Canary panel", (DASHBOARD,),
            group="Screens"),
    Command("panel_quarantine", "3", "quarantine panel", "Go to the Quarantine panel",
            (DASHBOARD,), group="Screens"),
    Command("panel_registry", "4", "registry panel", "Go to the Registry panel", (DASHBOARD,),
            group="Screens"),
    Command("filter", "slash", "filter", "Show only what holds these words; host:NAME means a host",
            (DASHBOARD, REGISTRY, LOG, HOSTS), rank=80, group="View"),
    Command("sort", "s", "sort", "Order by name, state or size", (DASHBOARD, REGISTRY), rank=160,
            group="View"),
    Command("pause", "space", "pause", "Freeze what is shown; the engine goes on",
            (DASHBOARD, LOG, REQUESTS, HOSTS), rank=170, group="View"),
    Command("copy", "y", "copy", "Send the selected line to the terminal's clipboard and a file",
            _LISTS, group="View"),
    Command("rescan", "f5", "rescan", "Look for models on disk again", (DASHBOARD,), rank=180,
            group="View"),
    Command("picture", "P", "picture", "Save this screen as an SVG file", _ALL, group="View"),
    Command("up", "up,k", "up", "One line up", (DASHBOARD,), group="Move"),
    Command("down", "down,j", "down", "One line down", (DASHBOARD,), group="Move"),
    Command("page_up", "pageup", "page up", "One page up", (DASHBOARD,), group="Move"),
    Command("page_down", "pagedown", "page down", "One page down", (DASHBOARD,), group="Move"),
    Command("first", "g,home", "first", "To the first line", (DASHBOARD,), group="Move"),
    Command("last", "G,end", "last", "To the last line", (DASHBOARD,), group="Move"),
    Command("palette", "colon,ctrl+p", "palette", "Every command by name", _ALL, rank=190,
            group="Console"),
    Command("help", "question_mark,f1", "help", "Every key, and what the states mean",
            (*_LISTS, CHAT), rank=900, group="Console"),
    Command("back", "escape", "back", "One level back; never quits", _ALL, group="Console"),
    Command("quit", "q", "quit", "Stop the engine and leave; asks while models are live",
            (DASHBOARD, CHAT), _E, rank=910, group="Console"),
    Command("settings", "ctrl+o", "settings", "Temperature, length and system prompt", (CHAT,),
            group="Chat"),
    Command("copy_answer", "f6", "copy answer", "Copy the last answer", (CHAT,), group="Chat"),
    Command("prompt", "f7", "prompt", "The prompt as the model reads it, special tokens included",
            (CHAT,), group="Chat"),
    Command("interrupt", "ctrl+c", "cancel answer", "End the answer that is being written",
            (CHAT,), group="Chat"),
)  # fmt: skip

ASKING = ("load", "override", "unload", "release", "hold", "prove", "quit")
"""Commands that may open a dialog: keys typed after them wait for it."""

BY_ID: dict[str, Command] = {command.id: command for command in COMMANDS}


def commands_on(where: str, commands: Sequence[Command] = COMMANDS) -> tuple[Command, ...]:
    """The commands of one screen, in table order."""
    return tuple(command for command in commands if where in command.where)


def remapped(keymap: Mapping[str, str]) -> tuple[Command, ...]:
    """The table with the keys an operator gave by command id: what is shown must be what works."""
    return tuple(replace(c, key=keymap.get(c.id, c.key).replace(" ", "")) for c in COMMANDS)


def offered(selection: Selection) -> list[Command]:
    """What a footer tells of: the commands that do something now, the most useful first."""
    worth = (c for c in table_of(selection) if c.rank and c.worth(selection))
    return sorted((c for c in worth if c.refusal(selection) is None), key=lambda c: c.rank)


def table_of(selection: Selection) -> tuple[Command, ...]:
    """The commands of the selection's screen under the keys they have there. The chat's keys have
    names of their own, since its letters are typing."""
    own = selection.commands if selection.where != CHAT else None
    return commands_on(selection.where, own or COMMANDS)
