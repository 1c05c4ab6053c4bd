"""The prompt on demand: what the model would read, or was given last."""

from collections.abc import Callable

from console.app import LmxApp
from console.screens.chat import ChatScreen, conversation_with
from console.screens.composer import Composer
from console.screens.prompt import PromptScreen
from engine import ChatDelta, ChatEnd, ChatTurn, Code
from tests.console import gallery
from tests.console.scripted import ScriptedEngine, ScriptedStream
from tests.console.stage import HOSTILE, SIZE, assert_harmless, open_screen, plain, settle, until

Build = Callable[..., LmxApp]
MODEL = "MiniMax-M2.5-4bit"


def engine(*streams: ScriptedStream) -> ScriptedEngine:
    scripted = ScriptedEngine(gallery.working())
    scripted.streams = list(streams)
    return scripted


def sent(scripted: ScriptedEngine) -> list[tuple[str, str]]:
    turns: tuple[ChatTurn, ...] = scripted.asked("render")[-1].arguments["turns"]
    return [(turn.role, turn.content) for turn in turns]


async def test_the_draft_as_it_would_be_sent_with_all_that_went_before(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("ctrl+o", "tab", "tab", *"Be", "enter", *"one", "enter")
        await until(pilot, lambda: conversation_with(app, MODEL).last_answer() == "It works.")
        await until(pilot, lambda: conversation_with(app, MODEL).running is None)
        await pilot.press(*"two", "f7")
        await until(pilot, lambda: "<|user|>" in plain(app))
        assert isinstance(app.screen, PromptScreen)
        assert "as it would be sent" in plain(app)
        assert sent(scripted) == [
            ("system", "Be"),
            ("user", "one"),
            ("assistant", "It works."),
            ("user", "two"),
        ]
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen_stack[-1].query_one(Composer).text == "two"
        assert len(scripted.asked("chat")) == 1


async def test_without_a_draft_the_last_one_also_where_the_model_died_of_it(
    console: Build,
) -> None:
    death = ChatEnd("error", decision=gallery.refusal(Code.MODEL_UNSTABLE))
    scripted = engine(ScriptedStream([ChatDelta("half", 1), death]))
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press(*"boom", "enter")
        await until(pilot, lambda: conversation_with(app, MODEL).running is None)
        await pilot.press("f7")
        await until(pilot, lambda: "as it was sent" in plain(app))
        assert sent(scripted) == [("user", "boom")]


async def test_with_nothing_written_it_says_so(console: Build) -> None:
    scripted = engine()
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, ChatScreen(MODEL))
        await pilot.press("f7")
        await settle(pilot)
        assert "write something first" in plain(app)
        assert not scripted.asked("render")


async def test_a_refusal_is_shown_and_f5_asks_again(console: Build) -> None:
    scripted = engine()
    scripted.refusals["render"] = gallery.refusal(
        Code.INVALID_REQUEST, message="chat template: roles must alternate"
    )
    app = console(scripted)
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, PromptScreen(MODEL, [ChatTurn("user", "x")], asked=False))
        await until(pilot, lambda: "roles must alternate" in plain(app))
        assert not app.screen.copy_text  # type: ignore[attr-defined]
        del scripted.refusals["render"]
        await pilot.press("f5")
        await until(pilot, lambda: "<|user|>" in plain(app))


async def test_a_hostile_prompt_stays_text_and_is_copied_as_text(console: Build) -> None:
    app = console(engine())
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, PromptScreen(MODEL, [ChatTurn("user", HOSTILE)], asked=True))
        await until(pilot, lambda: "<|user|>" in plain(app))
        assert_harmless(plain(app))
        assert_harmless(app.screen.copy_text)  # type: ignore[attr-defined]
        await pilot.press("G", "g")
        await pilot.resize_terminal(60, 16)
        await settle(pilot)
        assert_harmless(plain(app))


async def test_a_prompt_of_a_million_characters_shows_its_end(console: Build) -> None:
    app = console(engine())
    turns = [ChatTurn("user", "word " * 200_000 + "the end")]
    async with app.run_test(size=SIZE) as pilot:
        await open_screen(app, pilot, PromptScreen(MODEL, turns, asked=True))
        await until(pilot, lambda: "1,000,021 characters" in plain(app))
        await pilot.press("G")
        await settle(pilot)
        assert "the end" in plain(app)
