"""A test chat with one routable model: words as they come, their speed, and why an answer ended."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input, Label

from console.commands import CHAT
from console.conversation import Conversation, Exchange, transcript
from console.line import Cell, Line, shorten, tidy
from console.modals.fields import FieldError, number_of
from console.screens.composer import Composer
from console.screens.page import Drawing, Page, Sheet
from console.screens.prompt import PromptScreen
from console.status import state_text
from console.whereabouts import asked_as, whereabouts
from console.widgets.footer import FooterLine
from console.widgets.header import HeaderLine
from engine import ChatDelta, ChatEnd, ChatStream, EngineError, OutOfReach

if TYPE_CHECKING:
    from console.app import LmxApp

PAINT_S = 0.1
"""Words are painted at most ten times a second."""
_KEPT: WeakKeyDictionary[App[None], dict[str, Conversation]] = WeakKeyDictionary()


def conversation_with(app: "LmxApp", model_id: str) -> Conversation:
    """The conversation with this model; it lives as long as the app does."""
    talk = _KEPT.setdefault(app, {}).setdefault(model_id, Conversation(model_id))
    if (view := app.snapshot.model(model_id)) is not None:
        talk.sampling = view.sampling
    return talk


class ChatScreen(Page):
    """Talks to one model. ``esc`` cancels a running answer; the next leaves, ended or not.

    Args:
        model_id: Whom to ask.
    """

    CSS_PATH: ClassVar[list[str]] = ["page.tcss", "chat.tcss"]  # type: ignore[assignment]
    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.command('back')", "back", id="chat.back", show=False),
        Binding("f1", "app.command('help')", "help", id="chat.help", show=False),
        Binding("f6,y", "copy_answer", "copy", id="chat.copy", show=False),
        Binding("f7", "app.command('prompt')", "prompt", id="chat.prompt", show=False),
        Binding("ctrl+o", "app.command('settings')", "settings", id="chat.settings", show=False),
        Binding("ctrl+p", "app.command_palette", "palette", id="chat.palette", show=False),
        Binding("up,k", "scroll('up')", "up", id="chat.up", show=False),
        Binding("down,j", "scroll('down')", "down", id="chat.down", show=False),
        Binding("pageup", "scroll('page_up')", "page up", id="chat.page_up", show=False),
        Binding("pagedown", "scroll('page_down')", "page down", id="chat.page_down", show=False),
        Binding("home,g", "scroll('first')", "first", id="chat.first", show=False),
        Binding("end,G", "scroll('last')", "last", id="chat.last", show=False),
    ]
    KEYS = (
        ("ctrl+j", "new line"),
        ("ctrl+o", "settings"),
        ("f6", "copy"),
        ("f7", "prompt"),
    )
    where = CHAT

    def __init__(self, model_id: str) -> None:
        super().__init__()
        self.target_id = model_id
        self.following = True
        self._stream: ChatStream | None = None
        self._painter: Timer | None = None
        self._dirty = False

    def compose(self) -> ComposeResult:
        """Transcript, settings, where to write."""
        yield HeaderLine(id="header")
        yield Sheet(id="sheet", classes="panel")
        with Horizontal(id="settings"):
            for name, label, value in self._settings():
                yield Label(label)
                field = Input(value, id=name, compact=True, max_length=4000)
                field.cursor_blink = False
                yield field
        composer = Composer(id="composer")
        composer.text = self.conversation.draft
        composer.move_cursor(composer.document.end)
        yield composer
        yield FooterLine(id="footer")

    def _settings(self) -> tuple[tuple[str, str, str], ...]:
        talk = self.conversation
        return (
            ("temperature", "temperature", f"{talk.options.temperature:g}"),
            ("max", "max tokens", str(talk.options.max_tokens)),
            ("system", "system", talk.system),
        )

    def on_unmount(self) -> None:
        """Nobody is left to read it."""
        if self._stream is not None:
            self._stream.cancel()

    @property
    def conversation(self) -> Conversation:
        """What was said so far."""
        return conversation_with(self.lmx, self.target_id or "")

    @property
    def listening(self) -> bool:
        """Whether an answer still comes."""
        return self.conversation.running is not None

    @property
    def back_word(self) -> str:
        """What esc does now."""
        running = self.conversation.running
        if running is None:
            return "back"
        return "cancel" if running.cancelled_at is None else "leave"

    def draw(self, width: int, now: float) -> Drawing:
        """The transcript, with the model's state in the frame."""
        glyphs, model_id = self.glyphs, self.target_id or ""
        model, hosts = self.lmx.snapshot.model(model_id), whereabouts(self.lmx.snapshot)
        name = shorten(tidy(model_id, ascii_only=glyphs.ascii_only), width - 24, glyphs.ellipsis)
        mark = "  sim" if model is not None and model.simulated else ""
        state = "gone" if model is None else state_text(model, now, hosts.state(model))
        self._hear_phase()
        lines: list[Line] = transcript(self.conversation, width, glyphs, now)
        if not lines:
            word = "Nothing said yet. What you write goes to this model alone."
            lines = [(Cell(f" {word}", "dim"),)]
            if more := self.conversation.unseen_defaults:
                lines.append((Cell(f" Its settings also say {more}.", "dim"),))
        subtitle = tidy(state, ascii_only=glyphs.ascii_only)
        return Drawing(f"Chat {glyphs.dot} {name}{mark}", lines, subtitle)

    def _hear_phase(self) -> None:
        """Take from the snapshot how far a long prompt is; its first word may be minutes away."""
        running, stream = self.conversation.running, self._stream
        if running is None or stream is None:
            return
        for request in self.lmx.snapshot.requests:
            if request.id == stream.request_id and request.phase == "prefill":
                running.phase = f"prefill {request.prefilled:,} of {request.prompt_tokens:,}"

    def drawn(self) -> None:
        """Stay at the end while the operator has not scrolled up."""
        if self.following:
            self.call_after_refresh(self.sheet.scroll_end, animate=False, immediate=True)

    # Asking

    @on(Composer.Sent)
    def send(self, event: Composer.Sent) -> None:
        """Ask the model, unless it is still answering or there is nothing to ask."""
        event.stop()
        question = event.text.strip("\n")
        if not question.strip():
            return
        if self.conversation.running is not None:
            self.lmx.report(f"it has not ended yet; esc {self.back_word}s", "warn")
            return
        try:
            self._read_settings()
        except FieldError as error:
            self.lmx.report(str(error), "warn")
            return
        self.query_one(Composer).clear()
        self.following = True
        exchange = self.conversation.ask(question, self.lmx.clock())
        self._painter = self.set_interval(PAINT_S, self._paint, name="words")
        self.redraw()
        self.run_worker(self._answer(exchange), group="chat", exit_on_error=False)

    def _read_settings(self) -> None:
        talk = self.conversation
        heat = number_of(self.query_one("#temperature", Input).value, "temperature", above=-0.001,
                         most=5)  # fmt: skip
        most = number_of(self.query_one("#max", Input).value, "max tokens")
        talk.temperature = None if heat is None else max(heat, 0.0)
        talk.max_tokens = None if most is None else max(int(most), 1)
        talk.system = self.query_one("#system", Input).value

    async def _answer(self, exchange: Exchange) -> None:
        app, talk = self.lmx, self.conversation
        try:
            stream = await app.engine.chat(
                asked_as(app.snapshot, self.target_id or ""),
                talk.turns(),
                talk.options,
                client=app.actor,
                trusted=True,
            )
            self._stream = stream
            async for item in stream:
                if isinstance(item, ChatDelta):
                    exchange.add(item.text, item.tokens, app.clock())
                    self._dirty = True
                else:
                    exchange.finish(item)
        except EngineError as error:
            exchange.decision = error.decision
        except asyncio.CancelledError:
            exchange.finish(ChatEnd("cancelled"))
            raise
        except OutOfReach as error:
            exchange.trouble = f"the answer broke off: {error}"
        except Exception as error:
            exchange.trouble = f"the answer broke off: {type(error).__name__}: {error}"
        finally:
            if exchange.running:
                exchange.trouble = "the answer broke off without saying why"
            self._stream = None
            self._still()

    def _still(self) -> None:
        """The answer has ended: paint the rest and stop the painter."""
        if self._painter is not None:
            self._painter.stop()
            self._painter = None
        self._dirty = False
        if self.is_mounted:
            self.redraw()

    def _paint(self) -> None:
        if self._dirty:
            self._dirty = False
            self.redraw()

    # Keys

    def _cancel(self) -> bool:
        """Ask the running answer to end; False if there is none, or it has been asked already."""
        running = self.conversation.running
        if running is None or running.cancelled_at is not None:
            return False
        running.cancelled_at = self.lmx.clock()
        if self._stream is not None:
            self._stream.cancel()
        else:
            self.workers.cancel_group(self, "chat")
        self.redraw()
        return True

    def command_back(self) -> None:
        """Cancel, else leave. An answer that does not end is left to the engine: a model that
        hangs may take minutes to be found out."""
        if not self._cancel():
            with suppress(FieldError):
                self._read_settings()
            self.app.pop_screen()

    def command_interrupt(self) -> None:
        """ctrl+c cancels; with nothing to cancel it says how to leave."""
        if not self._cancel():
            self.lmx.report("esc leaves the chat, ctrl+q quits")

    def command_settings(self) -> None:
        """Show or hide temperature, length and system prompt."""
        row = self.query_one("#settings")
        row.toggle_class("-open")
        opened = row.has_class("-open")
        self.query_one("#temperature" if opened else "#composer").focus()

    def command_prompt(self) -> None:
        """Show the prompt the draft would become, or without one the last question's."""
        with suppress(FieldError):
            self._read_settings()
        draft = self.query_one(Composer).text.strip("\n")
        turns = self.conversation.prompt_turns(draft if draft.strip() else "")
        if any(turn.role == "user" for turn in turns):
            asked = not draft.strip()
            self.app.push_screen(PromptScreen(self.target_id or "", turns, asked=asked))
        else:
            self.lmx.report("write something first: there is no prompt yet", "warn")

    def command_copy_answer(self) -> None:
        """The palette's way to copy."""
        self.action_copy_answer()

    @on(Composer.Changed)
    def _keep_draft(self, event: Composer.Changed) -> None:
        self.conversation.draft = event.text_area.text

    def action_copy_answer(self) -> None:
        """Copy the newest answer."""
        text = self.conversation.last_answer()
        if text:
            self.lmx.copy(text)
        else:
            self.lmx.report("nothing to copy yet", "warn")

    @on(Composer.Prompted)
    def _prompted(self) -> None:
        self.lmx.action_command("prompt")

    @on(Composer.Copied)
    def _copied(self) -> None:
        self.action_copy_answer()

    @property
    def copy_text(self) -> str:
        """The newest answer."""
        return self.conversation.last_answer()

    @on(Input.Submitted)
    def _set(self, event: Input.Submitted) -> None:
        """Enter in a setting: back to writing, once it is one."""
        event.stop()
        with suppress(FieldError):
            self._read_settings()
            self.command_settings()

    @on(Composer.Scrolled)
    def _scrolled(self, event: Composer.Scrolled) -> None:
        event.stop()
        self.action_scroll(event.how)

    def action_scroll(self, how: str) -> None:
        """Move the transcript; it follows again once its end is in sight."""
        self.sheet.move(how)
        self.call_after_refresh(self._see_end)

    def _see_end(self) -> None:
        self.following = self.sheet.scroll_offset.y >= self.sheet.max_scroll_y
