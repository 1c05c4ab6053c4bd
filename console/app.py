"""The console: one Textual app around one engine. It paints first, starts the engine second, and
whatever ends it (a key, SIGTERM, a cut line) ends the engine in order.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual._context import active_message_pump
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.filter import Monochrome, NoColor
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import Worker, WorkerState

from console import breakdown
from console.actions import ACTIONS
from console.clipboard import copy_out
from console.commands import ASKING, BY_ID, DASHBOARD, Selection, remapped
from console.departure import Departure
from console.gate import CHASE_S, Chaser, KeyGate, behind_escape, is_escape
from console.line import plain_error, tidy
from console.news import News, say_decision
from console.outlet import Outlet
from console.presenter import START, Pulse
from console.pump import MAX_HZ, Pump
from console.screens.dashboard import DashboardScreen
from console.screens.palette import Palette, entries
from console.screens.small import SmallScreen, is_small
from console.status import Glyphs
from console.theme import FALLBACK, THEMES, theme_name
from console.wire import lean_driver
from engine import (
    Decision,
    EngineError,
    EngineFace,
    EngineSnapshot,
    FaceMismatch,
    HomeTaken,
    HomeUnusable,
    Notice,
    OutOfReach,
)

NOTHING = EngineSnapshot(version=-1, taken_at=0.0)


class LmxApp(App[None], inherit_bindings=False):
    """The console.

    Args:
        engine: The engine to show and to command; started and stopped by the app.
        actor: Who acts, for the record.
        clock: Unix seconds, for everything shown. ``monotonic`` measures ages.
        theme: ``dark``, ``light``, ``ansi`` or a Textual theme; NO_COLOR decides over it.
        keymap: Binding id to keys, from the settings.
        version: What the help calls this program.
        outlet: What the engine is reached through from outside; opened behind the first paint.
        attached: Where the engine answers, if it runs in another process; it is left running then.
        on_hangup: ``detach`` or ``stop``, where the terminal is gone.
        may_detach: Whoever runs the app goes on without it, if an operator wants to.
    """

    CSS_PATH = ["app.tcss", "screens/dashboard.tcss"]  # noqa: RUF012 - Textual's own declaration
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "command('quit')", "quit", show=False, id="quit.anywhere"),
        Binding("ctrl+c", "interrupt", "interrupt", show=False, id="interrupt"),
    ]

    snapshot: reactive[EngineSnapshot] = reactive(NOTHING, repaint=False, always_update=True)
    news: reactive[News | None] = reactive(None, repaint=False)

    def __init__(
        self,
        *,
        engine: EngineFace,
        actor: str = "user@local",
        readonly: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        theme: str | None = None,
        ascii_only: bool = False,
        no_color: bool = False,
        tmux: bool = False,
        refresh_hz: float = MAX_HZ,
        keymap: Mapping[str, str] | None = None,
        version: str = "",
        outlet: Outlet | None = None,
        attached: str = "",
        on_hangup: str = "stop",
        may_detach: bool = False,
        hard_exit: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__(ansi_color=True if no_color else None)
        self._decide_colour(no_color)
        self.title = "Opta-LMX"
        self.engine = engine
        self.outlet = outlet
        self.attached = attached
        self.may_detach = may_detach
        self.actor = actor
        self.readonly = readonly
        self.clock = clock
        self.glyphs = Glyphs(ascii_only)
        self.version = version
        self.tmux = tmux
        self.departure = Departure(self, hard_exit, on_hangup)
        self.gate = KeyGate(self._type)
        self.trouble: Notice | None = None
        """Why the engine did not start; a lasting banner."""
        self.pump = Pump(engine, self._publish, hz=refresh_hz, monotonic=monotonic)
        for own in THEMES:
            self.register_theme(own)
        name = theme_name(theme, no_color=no_color)
        self.theme = name if name in self.available_themes else theme_name(None, no_color=no_color)
        self.commands = remapped(keymap or {})
        self.set_keymap(keymap or {})
        self.set_class(ascii_only, "-ascii")

    def _decide_colour(self, no_color: bool) -> None:
        """NO_COLOR means no colour sequence at all; Textual alone would send greys."""
        self.no_color = no_color
        self._filters = [f for f in self._filters if not isinstance(f, Monochrome | NoColor)]
        if no_color:
            self._filters.append(NoColor())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our colour names under themes that do not define them."""
        return FALLBACK

    def get_driver_class(self) -> type[Driver]:
        """The platform's driver, writing differences only."""
        return lean_driver(super().get_driver_class(), self._lost)

    def _lost(self) -> None:  # the driver is made before the departure is
        self.departure.lost()

    def abandon(self) -> None:
        """Write nothing more to the terminal, and wait for nothing it should take."""
        if self._driver is not None:
            getattr(self._driver, "abandon", lambda: None)()

    def get_default_screen(self) -> Screen[Any]:
        """The dashboard."""
        return DashboardScreen()

    # Life and end

    def on_mount(self) -> None:
        """Listen for the end, then start the engine behind the first paint."""
        self.departure.listen()
        self.pump.pull()
        self.set_interval(self.pump.period_s, self._pull, name="pump")
        self.call_after_refresh(self._start)

    def _pull(self) -> None:
        self.pump.pull()
        if self.pump.over:
            self.exit(return_code=1, message=tidy(self.pump.over, limit=1000))

    def on_unmount(self) -> None:
        """Give the signals back."""
        self.departure.forget()

    def _start(self) -> None:
        self.run_worker(self._start_engine(), name="start", group="start", exit_on_error=False)

    async def _start_engine(self) -> None:
        try:
            await self.engine.start()
        except (HomeTaken, HomeUnusable, FaceMismatch) as error:
            self.exit(return_code=1, message=tidy(str(error), limit=1000))
            return
        except Exception as error:
            self.trouble = Notice(START, f"the engine did not start: {plain_error(error)}", "error")
            self._publish(self.snapshot)
        self.pump.pull()
        if self.outlet is not None and self.trouble is None:
            await self.outlet.open()

    @property
    def known_as(self) -> str:
        """Who acts here, as the engine's log has it: whoever comes through the API is named with
        where from, which begins behind the last colon."""
        return f"{self.actor}@api:" if self.attached else self.actor

    def end(self, *, hung_up: bool = False) -> None:
        """Stop the engine in order, then leave; see :meth:`Departure.stop`."""
        self.departure.stop(hung_up=hung_up)

    # What is shown

    def _publish(self, snapshot: EngineSnapshot) -> None:
        if self.trouble is not None and self.trouble not in snapshot.notices:
            snapshot = replace(snapshot, notices=(self.trouble, *snapshot.notices))
        self.snapshot = snapshot

    @property
    def pulse(self) -> Pulse:
        """How fresh the screen is."""
        pump = self.pump
        age = max(pump.age_s, pump.lateness_s)
        down = self.trouble is not None
        return Pulse(age, pump.paused, self.readonly, pump.error, down, self.attached)

    def report(self, what: Decision | str, level: str = "", model_id: str = "") -> None:
        """Answer the operator on one line of the screen that asked, also behind a dialog.

        Args:
            level: ``info``, ``warn`` or ``error``; a Decision is a warning unless it says.
        """
        if isinstance(what, Decision):
            message, level = say_decision(what), level or "warn"
        else:
            message, level = what, level or "info"
        screens = [screen for screen in self.screen_stack if not screen.is_modal]
        where = getattr(screens[-1], "where", DASHBOARD) if screens else DASHBOARD
        self.news = News(self.clock(), tidy(message), level, model_id, where)

    # Commands

    def selection(self, screen: Screen[Any] | None = None) -> Selection:
        """What a command would act on at this moment, on the screen in front or on another."""
        screen = screen or self.screen
        target = getattr(screen, "target_id", None)
        return Selection(
            model=self.snapshot.model(target) if target else None,
            snapshot=self.snapshot,
            readonly=self.readonly,
            where=getattr(screen, "where", DASHBOARD),
            commands=self.commands,
        )

    def action_command(self, command_id: str) -> None:
        """Run a command of the table on the present selection, or say why it does not apply."""
        command = BY_ID[command_id]
        selection = self.selection()
        reason = command.refusal(selection)
        if reason is not None:
            self.report(reason, "warn")
            return
        for owner in (self.screen, self):
            own = getattr(owner, f"command_{command_id}", None)
            if own is not None:
                own()
                return
        action = ACTIONS.get(command_id)
        if action is not None:
            if command_id in ASKING and not self.screen.is_modal:
                self.gate.close()
            work = self._guard(action(self, selection), selection)
            self.run_worker(work, name=command_id, group="command", exit_on_error=False)

    async def _guard(self, work: Awaitable[None], selection: Selection) -> None:
        """Turn whatever a command raises into words; no traceback reaches the screen."""
        model_id = selection.model.id if selection.model else ""
        try:
            await work
        except EngineError as error:
            self.report(error.decision, model_id=model_id)
        except OutOfReach as error:
            self.report(str(error), "error", model_id)
        except Exception as error:
            self.report(f"that did not work: {plain_error(error)}", "error", model_id)
        finally:
            self.gate.open()
        self.pump.pull()

    def _handle_exception(self, error: Exception) -> None:
        """Called by Textual with what nothing caught."""
        # Textual mounts what is leaving already without its children.
        pump = active_message_pump.get(self)
        leaving = self._exit or not self.is_running or pump._closing  # noqa: SLF001
        if not (isinstance(error, NoMatches) and (leaving or getattr(pump, "_pruning", False))):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Leave with a sentence; Textual's own would print a traceback with every variable."""
        logs = Path(self.snapshot.home) / "logs" if self.snapshot.home else None
        error = self._exception or RuntimeError("unknown")
        attached = bool(self.attached)
        self.panic(Text(breakdown.record(error, logs, self.version, attached=attached)))

    def _type(self, key: events.Key) -> None:
        key.set_sender(self)  # above its sender a key stops: a dialog's would end there
        self.post_message(key)

    async def on_event(self, event: events.Event) -> None:
        """Every event of the terminal; keys meant for a dialog on its way wait for it."""
        late = behind_escape(event)
        if late is not None or is_escape(event):
            await self._escape(late)
        elif not self.gate.takes(event):
            await super().on_event(event)

    async def _escape(self, late: events.Key | None) -> None:
        """Hand an esc on; the keys behind it wait until it has done what it does."""
        target = self.focused or self.screen
        await super().on_event(events.Key("escape", "\x1b"))
        if not self.gate.closed:
            ticket = self.gate.close()
            target.post_message(Chaser(ticket))
            self.set_timer(CHASE_S, lambda: self.gate.open(ticket=ticket))
        if late is not None:
            self.gate.hold(late)

    @on(Chaser)
    def _caught_up(self, event: Chaser) -> None:
        self.gate.open(ticket=event.ticket)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker of any screen that failed says so; it would be silent otherwise."""
        if event.state is WorkerState.ERROR and isinstance(event.worker.error, Exception):
            self.report(f"that did not work: {plain_error(event.worker.error)}", "error")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: every command of the screen it was opened on."""
        return entries(self, screen)

    def action_command_palette(self) -> None:
        """The palette; over a dialog there is none, since it acts on the screen below."""
        if not self.screen.is_modal:
            self.push_screen(Palette(id="--command-palette"))

    def command_palette(self) -> None:
        """Open the palette."""
        self.action_command_palette()

    def command_back(self) -> None:
        """One level back; the dashboard is the last."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def command_pause(self) -> None:
        """Freeze what is shown, or thaw it."""
        frozen = self.pump.pause()
        self.report("paused: the screen is frozen, the engine goes on" if frozen else "live again")

    def command_copy(self) -> None:
        """Copy what the screen in front offers as ``copy_text``."""
        text = getattr(self.screen, "copy_text", "")
        if text:
            self.copy(text)
        else:
            self.report("nothing to copy here", "warn")

    def copy(self, text: str) -> None:
        """Send text to the terminal's clipboard and to a file, and say so."""
        write = self._driver.write if self._driver is not None else None
        # The home of an engine elsewhere is no folder here.
        home = Path(self.snapshot.home) if self.snapshot.home and not self.attached else None
        self.report(copy_out(text, write, home, tmux=self.tmux))

    def command_picture(self) -> None:
        """Save this screen as an SVG in the current folder."""
        try:
            path = self.save_screenshot(path=".")
        except OSError as error:
            self.report(f"no picture: {error}", "error")
        else:
            self.report(f"picture saved as {Path(path).name}")

    def action_interrupt(self) -> None:
        """ctrl+c: cancel what runs on this screen, or say how to quit."""
        own = getattr(self.screen, "command_interrupt", None)
        if own is not None:
            own()
        else:
            self.report("q quits, ctrl+q from anywhere")

    async def action_quit(self) -> None:
        """Textual's own way out takes ours."""
        self.action_command("quit")

    # Terminal

    def on_resize(self, event: events.Resize) -> None:
        """Under 60x16 nothing fits: say so instead of showing half."""
        if is_small(event.size) and not isinstance(self.screen, SmallScreen):
            self.push_screen(SmallScreen())

    @on(events.DescendantFocus)
    def still_cursor(self, event: events.DescendantFocus) -> None:
        """No cursor blinks, the palette's included: a blink costs 1.9 kB/s."""
        if isinstance(event.widget, Input | TextArea):
            event.widget.cursor_blink = False
