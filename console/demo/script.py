"""The script of ``lmx demo``: four scenes on nine models, as data."""

from console.demo.beat import (
    Await,
    Beat,
    Choose,
    Leap,
    Say,
    Upgrade,
    chosen,
    eligible,
    focus,
    gone,
    holds,
    on,
    press,
    proving,
    returned,
    scrolled,
    shows,
    stands,
    struck,
    under_way,
)
from console.demo.props import (
    AFTER,
    CRASHING,
    HEALTHY,
    LARGE,
    NONSENSE,
    OVERRIDDEN,
    SHARDLESS,
    TRUNCATED,
    UNKNOWN,
    UNSAFE,
)
from console.demo.routine import BACK, LIST, ask, chat, load, turned_away
from engine import Readiness

WELCOME = "lmx demo"
GATE = "1 The gate"
LINE = "2 Over a slow line"
NIGHT = "3 Two in the morning"
UPGRADE = "4 After an upgrade"
_COOL_DOWN_S = 30.0


SCRIPT: tuple[Beat, ...] = (
    Beat(
        "welcome",
        WELCOME,
        "The real console on a temporary home. The models are simulated; their worker processes "
        "are real, and so are their deaths.",
        (Await("the engine to start", lambda app: app.snapshot.started), LIST),
        7.0,
    ),
    Beat(
        "incomplete",
        GATE,
        "A download that stopped a third of the way. The gate reads the header, not the weights: "
        "no worker starts, nothing can crash.",
        turned_away(TRUNCATED),
        8.0,
    ),
    Beat(
        "refused",
        GATE,
        "The refusal stays on its row, with the remedy below. One code for one cause, in the same "
        "words in the log, the registry and the API.",
        BACK,
        filmed=False,
    ),
    Beat(
        "shards",
        GATE,
        "Its index names three weight files, and two are there: model_incomplete again, found in "
        "milliseconds and not after an hour of loading.",
        turned_away(SHARDLESS),
        filmed=False,
    ),
    Beat(
        "unsafe",
        GATE,
        "This one would run Python code from its own folder: model_unsafe, and nothing overrides "
        "that. e shows every check and what it found.",
        (
            *BACK,
            *turned_away(UNSAFE),
            *BACK,
            press("e"),
            on("ExplainScreen"),
            shows("helpful.py"),
        ),
        8.0,
    ),
    Beat(
        "architecture",
        GATE,
        "An architecture nobody here knows: llama.cpp itself was asked, in a child process, about "
        "the bare name.",
        (*BACK, *turned_away(UNKNOWN)),
    ),
    Beat(
        "memory",
        GATE,
        "1,150 GB into a budget of 512: insufficient_memory, said before the machine begins to "
        "swap.",
        (*BACK, *turned_away(LARGE)),
        filmed=False,
    ),
    Beat(
        "signature",
        GATE,
        "Whole and safe, but known to fail on this version of its backend: "
        "model_unsupported_backend. This check may be overridden; see later.",
        (*BACK, *turned_away(OVERRIDDEN)),
        7.0,
    ),
    Beat(
        "refusals",
        GATE,
        "Six models refused for five causes, each with its remedy. So far not one worker was "
        "started.",
        BACK,
    ),
    Beat(
        "dialog",
        LINE,
        "A healthy one: 121 GB. The dialog holds the estimate against the room before it asks "
        "for anything. Enter loads.",
        ask(HEALTHY),
        7.0,
        filmed=False,
    ),
    Beat(
        "loading",
        LINE,
        "A worker process of its own loads it; the memory was promised before it started. The "
        "console does not wait: every key still works.",
        (press("enter"), LIST, press("2"), focus("canary"), under_way(HEALTHY)),
        4.0,
    ),
    Beat(
        "canary",
        LINE,
        "Loaded is not proved. The canary asks the real worker: tokenizer, template, logits, "
        "perplexity, decode, streaming, cancel, memory.",
        (proving(HEALTHY, "decode"),),
        3.0,
    ),
    Beat(
        "routable",
        LINE,
        "Every step passed, and only now requests may reach it. The registry keeps the proof: "
        "these files, on this version of this backend.",
        (stands(HEALTHY, Readiness.ROUTABLE),),
        7.0,
    ),
    Beat(
        "chat",
        LINE,
        "A test chat, with the answer's length set by ctrl+o. esc would cancel the answer; the "
        "next esc leaves.",
        (
            press("1"),
            focus("models"),
            press("c"),
            focus("composer"),
            press("ctrl+o"),
            focus("temperature"),
            press("tab"),
            focus("max"),
            press("ctrl+u"),
            holds(""),
            Say("10"),
            press("enter"),
            focus("composer"),
            Say("Are you there?"),
            press("enter"),
            shows("length"),
        ),
        6.0,
    ),
    Beat(
        "nonsense",
        LINE,
        "This one loads without a word of complaint, and its logits are NaN. The canary sees it: "
        "model_canary_failed, quarantined before its first request.",
        (*BACK, *load(NONSENSE), press("2"), stands(NONSENSE, Readiness.QUARANTINED), returned()),
        8.0,
    ),
    Beat(
        "override",
        LINE,
        "Back to the blocked one. o lists what would be skipped and wants the name typed: an "
        "operator's risk, on the record.",
        (Choose(OVERRIDDEN), press("o"), on("OverrideDialog"), focus("name"), Say(OVERRIDDEN)),
        8.0,
    ),
    Beat(
        "overridden",
        LINE,
        "It still had to pass its canary. The badge stays on its row and in the header until it "
        "is unloaded.",
        (press("enter"), LIST, stands(OVERRIDDEN, Readiness.ROUTABLE)),
    ),
    Beat(
        "room",
        LINE,
        "340 GB more do not fit beside them. Nothing is evicted behind your back: the dialog says "
        "who would have to go.",
        (*ask(CRASHING), shows("to make room")),
        7.0,
    ),
    Beat(
        "unload",
        LINE,
        "So make room. u names the model and the requests that would drain first; the focus is "
        "on Cancel, and keys typed blind decide nothing.",
        (*BACK, Choose(OVERRIDDEN), press("u"), on("ConfirmDialog")),
        7.0,
    ),
    Beat(
        "fits",
        LINE,
        "Unloaded, and its memory is back; now the large one fits, loads and proves itself. Good "
        "night.",
        (
            press("y"),
            stands(OVERRIDDEN, Readiness.UNLOADED),
            returned(),
            *load(CRASHING),
            stands(CRASHING, Readiness.ROUTABLE),
        ),
        filmed=False,
    ),
    Beat(
        "crash",
        NIGHT,
        "A request, and native code aborts: a real SIGABRT. The console stays up, the request "
        "ends at once, and the worker's last words are kept.",
        (*chat("Summarise the incident."), shows("SIGABRT"), struck(CRASHING, 1)),
        8.0,
    ),
    Beat(
        "strike-1",
        NIGHT,
        "Strike one. It was started again after a pause of a second, and had to pass its canary "
        "like the first time. The other model noticed nothing.",
        (*BACK, stands(CRASHING, Readiness.ROUTABLE)),
    ),
    Beat(
        "strike-2",
        NIGHT,
        "Another request, another death: strike two, and back once more, after two seconds.",
        (
            *chat("And what now?"),
            struck(CRASHING, 2),
            *BACK,
            stands(CRASHING, Readiness.ROUTABLE),
        ),
        filmed=False,
    ),
    Beat(
        "quarantine",
        NIGHT,
        "The third within ten minutes: quarantined. No traffic, no restart of its own; the memory "
        "is free for others. The operator sleeps on.",
        (
            *chat("Once more?"),
            stands(CRASHING, Readiness.QUARANTINED),
            *BACK,
            press("3"),
            returned(),
        ),
        8.0,
    ),
    Beat(
        "evidence",
        NIGHT,
        "In the morning: the signal, what was in flight, the worker's last lines, the version it "
        "ran on. All of it survives a restart.",
        (
            press("1"),
            focus("models"),
            press("enter"),
            on("DetailScreen"),
            shows("GGML_ASSERT"),
            press("6"),
            scrolled(),
        ),
        9.0,
    ),
    Beat(
        "unstable",
        NIGHT,
        "l refuses: model_unstable. Neither an operator's load nor a client's request gets past a "
        "quarantine, and no override does.",
        (*BACK, press("l"), shows("model_unstable")),
        filmed=False,
    ),
    Beat(
        "cool-down",
        NIGHT,
        "Cool-down: 30 seconds, doubled each time up to 30 minutes. It counts down to the moment "
        "a release needs no second thought.",
        (press("3"), shows("you may release")),
        7.0,
    ),
    Beat(
        "eligible",
        NIGHT,
        "The demo's clock leaps over the rest. It may be released now; nobody but the operator "
        "does it, unless auto_release is set.",
        (Leap(_COOL_DOWN_S), eligible(CRASHING), gone("release (r) in")),
        5.0,
        filmed=False,
    ),
    Beat(
        "probation",
        NIGHT,
        "r releases it into a fresh load and canary, on probation: one failure puts it back, with "
        "a longer cool-down.",
        (
            press("1"),
            focus("models"),
            press("r"),
            stands(CRASHING, Readiness.ROUTABLE),
            struck(CRASHING, 0),
        ),
        7.0,
    ),
    Beat(
        "upgrade",
        UPGRADE,
        "A newer backend is installed, and f5 looks again. What failed on 1.0 is no verdict on "
        f"{AFTER}: the quarantine opens, the notice says what to prove again.",
        (
            Upgrade(),
            press("f5"),
            stands(NONSENSE, Readiness.UNLOADED),
            shows(f"not on simulated {AFTER}"),
            Choose(NONSENSE),
        ),
        9.0,
    ),
    Beat(
        "offer",
        UPGRADE,
        "A offers to prove them again in the background, one after another, where there is room. "
        "This time the operator takes the one that matters, by hand.",
        (press("A"), on("ConfirmDialog")),
        8.0,
    ),
    Beat(
        "reopened",
        UPGRADE,
        "The model that answered NaN, asked anew: never tried here on this version. The old "
        "failure stays on record and blocks nothing.",
        (
            *BACK,
            press("e"),
            on("ExplainScreen"),
            shows(f"never tried here on simulated {AFTER}"),
        ),
        7.0,
    ),
    Beat(
        "proved",
        UPGRADE,
        "The same files on the new version: loaded, proved, routable.",
        (*BACK, *load(NONSENSE), stands(NONSENSE, Readiness.ROUTABLE), shows("1 model was")),
    ),
    Beat(
        "registry",
        UPGRADE,
        "The registry remembers all of it: refusals, strikes, the failure on 1.0, the pass on "
        f"{AFTER}. One record a line, greppable, for the next load to read.",
        (press("1"), focus("models"), press("R"), on("RegistryScreen"), chosen(NONSENSE)),
        9.0,
    ),
    Beat(
        "end",
        WELCOME,
        "That was the tour. Any key, and the console is yours; ctrl+q ends, and takes the "
        "temporary home and every worker with it.",
        BACK,
    ),
)
