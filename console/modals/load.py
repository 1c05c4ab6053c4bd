"""The load dialog: the few things a load may be told, and what the gate says to them."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Button, Input, Label

from console.line import Cell, Line, cut, left, shorten, tidy
from console.modals.choice import Choice
from console.modals.dialog import Body, Dialog, name_line
from console.modals.fields import FieldError, number_of, seconds_of, tokens_of
from console.paragraph import paragraph
from console.report import decision_lines, estimate_lines, verdict_line
from console.room import held, room_for
from console.units import size_text
from engine import (
    Decision,
    EngineError,
    EngineSnapshot,
    Explanation,
    LoadOptions,
    MemoryView,
    ModelView,
)

Load = Callable[[LoadOptions], Awaitable[None]]
Explain = Callable[[LoadOptions], Awaitable[Explanation]]
DEBOUNCE_S = 0.25
"""The gate is asked again once the operator has stopped typing for so long."""


class LoadDialog(Dialog[LoadOptions | None]):
    """Ask how to load a model; plain Enter loads with the settings' values.

    What it shows beforehand is the gate's advice. The load itself always goes to the engine, which
    asks the gate afresh and keeps a refusal on record; refused, the dialog says so and stays.

    Args:
        model: The model as it stood at the key press.
        snapshot: The engine at that moment, for its runtimes.
        explain: Asks the gate without loading.
        load: Asks the engine to load; raises EngineError.
        debounce_s: Pause in typing after which the gate is asked again.
    """

    AUTO_FOCUS = "#load"
    TAKES_AHEAD = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "load", "load", id="load.load", show=False),
    ]

    def __init__(
        self,
        model: ModelView,
        snapshot: EngineSnapshot,
        explain: Explain,
        load: Load,
        *,
        debounce_s: float = DEBOUNCE_S,
    ) -> None:
        super().__init__("Load", model=model, deaf_s=0.0)
        self._subject = model
        self._snapshot = snapshot
        self._explain = explain
        self._load = load
        self._debounce_s = max(debounce_s, 0.001)
        self._timer: Timer | None = None
        self._asked: LoadOptions | None = None
        self._answer: Explanation | None = None
        self._pending = False
        self._loading = False
        """The engine is asked to load and has not answered."""
        self._loaded: LoadOptions | None = None
        """What the engine took: the dialog is done as soon as nothing covers it."""
        self._refused: Decision | None = None
        """What the engine said to the last load, until a field is changed."""
        self._trouble = ""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the runtimes this model could be given to, its own first."""
        host = self._snapshot.host_of(self._subject)
        runtimes = self._snapshot.runtimes if host is None else host.runtimes
        usable = [r.name for r in runtimes
                  if r.backend is self._subject.backend and not r.error]  # fmt: skip
        own = self._subject.runtime
        return tuple(dict.fromkeys(name for name in (own, *usable) if name)) or ("default",)

    def compose(self) -> ComposeResult:
        """Model, fields, what the gate says, buttons."""
        with self.box():
            yield Body(id="about")
            with Horizontal(classes="row"):
                yield Label("runtime")
                yield Choice(self.runtimes, id="runtime")
            for name, label, placeholder, hint in (
                ("context", "context", "default", "tokens"),
                ("keep", "keep-alive", "never", "never ends when idle; or 30m, 2h"),
                ("reserve", "reserve GB", "estimate", "replaces the estimate, on record"),
            ):
                with Horizontal(classes="row"):
                    yield Label(label)
                    field = Input(placeholder=placeholder, id=name, compact=True, max_length=12)
                    field.cursor_blink = False
                    yield field
                    yield Label(hint, classes="hint", id=f"{name}-hint")
            yield Body(id="body")
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Load", id="load", compact=True)

    def on_mount(self) -> None:
        """Ask the gate about the defaults at once."""
        self._ask()

    def options(self) -> LoadOptions:
        """What the fields say.

        Raises:
            FieldError: one of them holds what it cannot.
        """
        runtime = self.query_one("#runtime", Choice).value
        return LoadOptions(
            runtime=runtime if runtime != self._subject.runtime else None,
            context=tokens_of(self.query_one("#context", Input).value),
            keep_alive_s=seconds_of(self.query_one("#keep", Input).value),
            reserve_gb=number_of(self.query_one("#reserve", Input).value, "reserve GB"),
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        """A value changed: ask again when typing pauses."""
        event.stop()
        self._changed()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        """Another runtime."""
        event.stop()
        self._changed()

    def _changed(self) -> None:
        self._refused = None
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(self._debounce_s, self._ask)

    def _chosen(self) -> LoadOptions | None:
        """What the fields say, or None after saying what is wrong with one."""
        try:
            options = self.options()
        except FieldError as error:
            self._trouble = str(error)
            self.redraw()
            return None
        self._trouble = ""
        return options

    def _ask(self) -> None:
        options = self._chosen()
        if options is None or self._loading:
            return
        if options != self._asked or not (self._pending or self._answer is not None):
            self._asked, self._answer, self._pending = options, None, True
            self.run_worker(self._answer_to(options), exclusive=True, exit_on_error=False)
        self.redraw()

    async def _answer_to(self, options: LoadOptions) -> None:
        answer, trouble = None, ""
        try:
            answer = await self._explain(options)
        except EngineError as error:
            trouble = f"{error.decision.code}: {error.decision.message}"
        except Exception as error:
            trouble = f"the gate did not answer: {type(error).__name__}"
        if options != self._asked:
            return
        self._answer, self._pending, self._trouble = answer, False, trouble
        if answer is not None and answer.estimate is not None and options.context is None:
            self.query_one("#context", Input).placeholder = f"{answer.estimate.context:,}"
        self.redraw()

    async def _load_with(self, options: LoadOptions) -> None:
        """Put the load to the engine. Runs on the app, since esc must not break it off halfway."""
        refused, trouble = None, ""
        try:
            await self._load(options)
        except EngineError as error:
            refused = error.decision
        except Exception as error:
            trouble = tidy(f"that did not work: {type(error).__name__}: {error}", limit=300)
        self.lmx.pump.pull()
        self._loading = False
        if self not in self.app.screen_stack:  # closed meanwhile
            if refused is not None or trouble:
                self.lmx.report(refused or trouble, "warn", self._subject.id)
        elif refused is None and not trouble:
            self._loaded = options
            self._leave()
        else:
            self._refused, self._trouble = refused, trouble
            self.redraw()
            # The estimate may be as old as the refusal is new.
            self._asked, self._pending = options, True
            if refused is not None:
                self.run_worker(self._answer_to(options), exclusive=True, exit_on_error=False)

    def _leave(self) -> None:
        if self._loaded is not None and self.is_current:
            self.dismiss(self._loaded)

    def on_screen_resume(self) -> None:
        """What covered it is gone."""
        self._leave()

    def redraw(self) -> None:
        """The model above the fields, the estimate and the verdict below."""
        about = self._about()
        lines = self._below()
        self.query_one("#about", Body).fit(about, len(about))
        self.query_one("#body", Body).fit(lines, self.tallest - 11)
        self.query_one("#load", Button).disabled = bool(self.changed)

    def _about(self) -> list[Line]:
        model, glyphs = self._subject, self.glyphs
        facts = (
            model.backend.value,
            model.quantisation,
            model.backend_version,
            f"{size_text(model.weight_bytes)} on disk",
            "built on its first load" if model.buildable else "",
        )
        text = f" {glyphs.dot} ".join(fact for fact in facts if fact)
        text = tidy(text, ascii_only=glyphs.ascii_only)
        name = tuple(c._replace(text=shorten(c.text, self.inner - 8, glyphs.ellipsis))
                     for c in name_line(model, glyphs))  # fmt: skip
        return [name, (Cell(" " + cut(text, self.inner - 2, glyphs.ellipsis), "dim"),), ()]

    def _below(self) -> list[Line]:
        glyphs, width, answer = self.glyphs, self.inner, self._answer
        lines: list[Line] = [()]
        if answer is not None:
            lines += estimate_lines(answer.estimate, self._memory, width, glyphs)
            lines += self._room(answer)
        trained = self._subject.context_trained
        asked = self._asked.context if self._asked is not None else None
        if trained is not None and asked is not None and asked > trained:
            lines += paragraph(f"the model was trained for {trained:,} tokens", width, "warn")
        if self._loading:
            lines.append((Cell(" loading: asking the gate", "busy"),))
        elif self._refused is not None:
            told = f" not loaded, refused: {self._refused.code}"
            lines.append((Cell(cut(told, width - 1, glyphs.ellipsis), "bad"),))
            lines += self._refusal(self._refused)
        elif self._trouble:
            lines += paragraph(tidy(self._trouble, ascii_only=glyphs.ascii_only), width, "bad")
        elif answer is None:
            lines.append((Cell(" asking the gate", "dim"),))
        else:
            lines.append(verdict_line(answer, width, glyphs))
            if answer.decision is not None:
                lines += self._refusal(answer.decision)
        return lines if self._loading else lines + self.changed_lines()

    @property
    def _memory(self) -> MemoryView:
        return self.lmx.snapshot.memory_of(self._subject)

    def _refusal(self, decision: Decision) -> list[Line]:
        lines = decision_lines(decision, self.inner, self.glyphs, coded=False)
        if decision.overridable:
            lines += paragraph("back in the list, o overrides it", self.inner, "dim")
        return lines

    def _room(self, answer: Explanation) -> list[Line]:
        if answer.estimate is None:
            return []
        glyphs, models = self.glyphs, self.lmx.snapshot.models
        beside = [model for model in models if model.host == self._subject.host]
        room = room_for(self._subject, answer.estimate, self._memory, beside)
        if room.fits:
            return []
        lack = size_text(room.needed - room.free)
        if not room.goers:
            return paragraph(f"{lack} short, and no idle model could make room", self.inner, "warn")
        word = "to make room, unload:" if room.enough else "not enough even without:"
        lines: list[Line] = [(Cell(f" {lack} short; {word}", "warn"),)]
        for model in room.goers[:3]:
            name = shorten(tidy(model.id, ascii_only=glyphs.ascii_only), self.inner - 16)
            lines.append((Cell("   " + left(name, self.inner - 15), "name"),
                          Cell(size_text(held(model)), "dim")))  # fmt: skip
        if len(room.goers) > 3:
            lines.append((Cell(f"   and {len(room.goers) - 3} more", "dim"),))
        return lines

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field loads too."""
        event.stop()
        self.action_load()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button, by key or mouse."""
        event.stop()
        if event.button.id == "load":
            self.action_load()
        else:
            self.action_cancel()

    def action_load(self) -> None:
        """Put the load to the engine with what the fields say."""
        if self.changed or self._loading:
            return
        options = self._chosen()
        if options is None:
            return
        self._loading, self._refused = True, None
        self.redraw()
        self.app.run_worker(
            self._load_with(options), name="load", group="command", exit_on_error=False
        )
