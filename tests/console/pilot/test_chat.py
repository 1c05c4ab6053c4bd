"""The chat: words as they come, esc cancels and then leaves, a death is explained."""

import asyncio
from collections.abc import Callable

from textual.widgets import Input

from console.app import LmxApp
from console.screens.chat import ChatScreen, conversation_with
from console.screens.composer import Composer
from console.screens.dashboard import DashboardScreen
from engine import ChatDelta, ChatEnd, ChatOptions, ChatTurn, Code, Decision
from tests.console import gallery
from tests.console.scripted import Call, Clock, ScriptedEngine, ScriptedStream, snapshot_of
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle, until

Build = Callable[..., LmxApp]
MODEL = "MiniMax-M2.5-4bit"
END = ChatEnd("stop", 9, 3, ttft_ms=120.0, tokens_per_second=46.2)
CRASH = Decision(
    Code.MODEL_UNSTABLE,
    409,
    "the worker died under this request: SIGSEGV",
    True,
    found="SIGSEGV (signal 11)\nGGML_ASSERT: n_tokens <= n_batch\x1b[31m",
    remedy="it restarts with back-off; ask again once it is routable",
)


def engine(*streams: ScriptedStream) -> ScriptedEngine:
    scripted = ScriptedEngine(gallery.working())
    scripted.streams = list(streams)
    return scripted


def done(app: LmxApp) -> bool:
    return conversation_with(app, MODEL).running is None


async def test_an_answer_streams_with_its_figures(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "It works." in plain(app) and done(app))
        text = plain(app)
        assert "first token 120 ms" in text
        assert "46.2 tok/s" in text
        assert "9 in, 3 out" in text
        call: Call = scripted.asked("chat")[0]
        assert call.arguments["turns"] == (ChatTurn("user", "Hi"),)
        assert app.screen.query_one(Composer).text == ""


async def test_several_turns_and_a_system_prompt_are_sent(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("ctrl+o", "tab", "tab", *"Be", "enter")
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: len(conversation_with(app, MODEL).exchanges) == 1 and done(app))
        await pilot.press(*"two", "ctrl+j", *"b", "enter")
        await until(pilot, lambda: len(conversation_with(app, MODEL).exchanges) == 2 and done(app))
        turns = scripted.asked("chat")[1].arguments["turns"]
        assert [(t.role, t.content) for t in turns] == [
            ("system", "Be"),
            ("user", "one"),
            ("assistant", "It works."),
            ("user", "two\nb"),
        ]


async def test_first_escape_cancels_second_leaves_and_history_stays(console: Build) -> None:
    stream = ScriptedStream([ChatDelta("half an", 2)], hold=True)
    app = console(engine(stream))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "half an" in plain(app))
        assert "esc cancel" in plain(app)
        await pilot.press("escape")
        assert stream.cancelled.is_set()
        assert isinstance(app.screen, ChatScreen)
        await until(pilot, lambda: done(app))
        assert "cancelled" in plain(app)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)
        await open_screen(app, pilot, ChatScreen(MODEL))
        assert "half an" in plain(app)


async def test_ctrl_c_cancels_what_runs_and_then_says_how_to_leave(console: Build) -> None:
    stream = ScriptedStream([ChatDelta("half", 1)], hold=True)
    app = console(engine(stream))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "half" in plain(app))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: done(app))
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert app.news is not None
        assert "ctrl+q" in app.news.message
        assert isinstance(app.screen, ChatScreen)


async def test_a_long_prompt_shows_how_far_it_is(console: Build) -> None:
    scripted = engine(ScriptedStream([], hold=True))
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await settle(pilot)
        assert "waiting for the first token" in plain(app)
        scripted.set(requests=(gallery.request(phase="prefill", prefilled=400),))
        await settle(pilot)
        assert "prefill 400 of 812" in plain(app)


async def test_a_second_message_waits_for_the_first(console: Build) -> None:
    scripted = engine(ScriptedStream([ChatDelta("half", 1)], hold=True))
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "half" in plain(app))
        await pilot.press(*"more", "enter")
        assert len(scripted.asked("chat")) == 1
        assert app.screen.query_one(Composer).text == "more"


async def test_a_death_is_explained_and_its_question_is_not_put_again(console: Build) -> None:
    death = ScriptedStream([ChatDelta("The cap", 2), ChatEnd("error", 9, 2, decision=CRASH)])
    scripted = engine(death)
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"poison", "enter")
        await until(pilot, lambda: done(app) and "model_unstable" in plain(app))
        text = plain(app)
        for word in ("The cap", "SIGSEGV (signal 11)", "GGML_ASSERT", "it restarts with back-off"):
            assert word in text
        assert_harmless(text)
        await pilot.press(*"again", "enter")
        await until(pilot, lambda: len(scripted.asked("chat")) == 2 and done(app))
        assert scripted.asked("chat")[1].arguments["turns"] == (ChatTurn("user", "again"),)


async def test_a_refusal_before_the_first_word_is_shown(console: Build) -> None:
    scripted = engine()
    scripted.refusals["chat"] = gallery.refusal(
        Code.MODEL_NOT_READY, message="it is loading", remedy="wait until it is routable"
    )
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: done(app) and "model_not_ready" in plain(app))
        assert "wait until it is routable" in plain(app)


async def test_a_stream_that_just_stops_is_not_taken_for_an_answer(console: Build) -> None:
    app = console(engine(ScriptedStream([ChatDelta("half", 1)])))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "broke off" in plain(app))


async def test_leaving_an_engine_that_does_not_answer(console: Build) -> None:
    scripted = engine()
    waiting = asyncio.Event()

    async def never(*args: object, **kwargs: object) -> ScriptedStream:
        await waiting.wait()
        raise AssertionError

    scripted.chat = never  # type: ignore[method-assign]
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await settle(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: done(app))
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, DashboardScreen)


async def test_hostile_output_cut_anywhere_stays_text(console: Build) -> None:
    deltas = [ChatDelta(character, 1) for character in HOSTILE[:60]]
    deltas.append(ChatDelta("\r", 1))
    deltas.append(ChatDelta("\n\ud800 ok", 1))
    app = console(engine(ScriptedStream([*deltas, END])))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: done(app) and " ok" in plain(app))
        text = plain(app)
        assert_harmless(text)
        assert "[/red][bold]" in text


async def test_copy_works_from_the_input(console: Build) -> None:
    app = console(engine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("f6")
        assert app.news is not None
        assert "nothing to copy" in app.news.message
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: done(app) and "works" in plain(app))
        copied: list[str] = []
        app.copy = copied.append  # type: ignore[method-assign, assignment]
        await pilot.press("f6")
        assert copied == ["It works."]


async def test_a_setting_that_cannot_be_is_told(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("ctrl+o", *"9x", "tab", "tab", "tab", *"Hi", "enter")
        await settle(pilot)
        assert not scripted.asked("chat")
        assert app.news is not None
        assert "temperature" in app.news.message


async def test_a_long_answer_follows_until_the_reader_scrolls_up(console: Build) -> None:
    lines = [ChatDelta(f"line {i}\n", 2) for i in range(80)]
    app = console(engine(ScriptedStream([*lines, END])))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: done(app) and "line 79" in plain(app))
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: "line 79" not in plain(app))
        app.screen.redraw()  # type: ignore[attr-defined]
        await settle(pilot)
        assert "line 79" not in plain(app)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)


class DeafStream(ScriptedStream):
    """A worker that hangs: whatever it is asked, it never answers."""

    def cancel(self) -> None:
        self.cancelled = asyncio.Event()
        self.asked_to_end = True


async def test_a_stream_that_never_ends_does_not_keep_the_operator(console: Build) -> None:
    stream = DeafStream([ChatDelta("half an", 2)], hold=True)
    app = console(engine(stream))
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "half an" in plain(app))
        await pilot.press("escape")
        await settle(pilot)
        assert stream.asked_to_end
        assert "cancelling" in plain(app)
        assert "esc leave" in plain(app)
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert isinstance(app.screen, ChatScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        await until(pilot, lambda: done(app))
        await open_screen(app, pilot, ChatScreen(MODEL))
        assert "cancelled" in plain(app)
        await pilot.press(*"on", "enter")
        await until(pilot, lambda: "It works." in plain(app))


async def test_silence_is_told_instead_of_an_old_speed(console: Build) -> None:
    clock = Clock()
    stream = ScriptedStream([ChatDelta("one", 1), ChatDelta(" two", 9)], hold=True)
    app = console(engine(stream), clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: "one two" in plain(app))
        clock.advance(7)
        app.screen.redraw()  # type: ignore[attr-defined]
        await settle(pilot)
        assert "silent for 7 s" in plain(app)
        assert "tok/s" not in plain(app)


async def test_a_draft_is_kept_and_open_settings_cost_no_escape(console: Build) -> None:
    app = console(engine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"half a thought", "ctrl+o", "escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        await open_screen(app, pilot, ChatScreen(MODEL))
        assert app.screen.query_one(Composer).text == "half a thought"
        await pilot.press(*"!", "enter")
        await until(pilot, lambda: done(app) and "half a thought!" in plain(app))
        assert conversation_with(app, MODEL).draft == ""


async def test_answers_to_the_operator_are_one_line_that_fades_and_stays_here(
    console: Build,
) -> None:
    clock = Clock()
    app = console(engine(), clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        for _ in range(3):
            await pilot.press("f6")
        await settle(pilot)
        assert plain(app).count("nothing to copy yet") == 1
        assert not list(app._notifications)
        assert "Say something" in plain(app)
        clock.advance(6)
        app.screen.redraw()  # type: ignore[attr-defined]
        await settle(pilot)
        assert "nothing to copy yet" not in plain(app)
        await pilot.press("f6", "escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        await settle(pilot)
        assert "nothing to copy yet" not in plain(app)


async def test_the_palette_lists_what_the_chat_can_do(console: Build) -> None:
    app = console(engine())
    async with app.run_test(size=(100, 40)) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "copy answer" in plain(app))
        for word in ("settings", "cancel answer", "help", "quit", "(f6)"):
            assert word in plain(app)
        await pilot.press(*"zzzz")
        await until(pilot, lambda: "No matches found" in plain(app))
        await pilot.press(*["backspace"] * 4, *"settings")
        await until(pilot, lambda: "No matches" not in plain(app) and "settings" in plain(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one("#settings").has_class("-open"))


async def test_a_chat_starts_from_the_models_own_settings(console: Build) -> None:
    own = {"temperature": 0.2, "max_tokens": 64, "top_k": 40}
    script = ScriptedEngine(snapshot_of(gallery.routable(MODEL, sampling=own)))
    app = console(script)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        assert "Its settings also say top_k 40." in plain(app)
        await pilot.press("ctrl+o")
        fields = [app.screen.query_one(name, Input).value for name in ("#temperature", "#max")]
        assert fields == ["0.2", "64"]
        await pilot.press(*["backspace"] * 3, *"1", "enter")
        await pilot.press(*"Hi", "enter")
        await until(pilot, lambda: done(app))
    (call,) = script.asked("chat")
    assert call.arguments["options"] == ChatOptions(temperature=1.0, max_tokens=64, top_k=40)
