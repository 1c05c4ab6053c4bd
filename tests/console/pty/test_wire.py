"""What goes over the line: nothing when idle, no colour under NO_COLOR, no hostile byte."""

import os
import re
import signal
import time
from collections.abc import Callable

from tests.console.pty.conftest import Opener

Simulate = Callable[..., str]
QUIET_S = 3.0
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


def test_an_idle_console_is_nearly_silent(open_console: Opener, simulate: Simulate) -> None:
    simulate("good")
    terminal = open_console(size=(80, 24))
    terminal.wait_for("good", "unloaded")
    time.sleep(1.5)  # the last of the start: a spare tick of the clock is no news
    before = len(terminal.received)
    time.sleep(QUIET_S)
    assert (len(terminal.received) - before) / QUIET_S <= 200


def test_no_color_means_no_colour_sequence(open_console: Opener, simulate: Simulate) -> None:
    simulate("good")
    terminal = open_console(NO_COLOR="1")
    terminal.wait_for("good", "unloaded")
    assert not COLOUR.search(bytes(terminal.received))


def test_a_terminal_of_sixteen_colours_gets_no_other(
    open_console: Opener, simulate: Simulate
) -> None:
    simulate("good")
    terminal = open_console(TERM="xterm")
    terminal.wait_for("good", "unloaded")
    sent = bytes(terminal.received)
    assert COLOUR.search(sent)
    assert not re.search(rb"\x1b\[(?:\d+;)*[34]8;[25];", sent)


def test_a_hostile_answer_reaches_the_screen_as_plain_words(
    open_console: Opener, simulate: Simulate
) -> None:
    evil = ["\x1b]52;c;aGk=\x07", "\x1b[2J", "\x9b2J", "[/red][@click=quit]", "\u202e end"]
    simulate("evil", say=evil, tokens_per_second=200)
    terminal = open_console()
    terminal.wait_for("evil", "unloaded")
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_for("routable")
    terminal.send("c")
    terminal.wait_for("Chat")
    mark = len(terminal.received)
    terminal.send("hello\r")
    terminal.wait_for("[/red][@click=quit]", " out", "length")
    sent = bytes(terminal.received[mark:])
    for bad in (b"\x1b]52", b"\x1b[2J", b"\xc2\x9b", "\u202e".encode()):
        assert bad not in sent, bad


def test_a_hostile_name_reaches_the_screen_as_plain_words(
    open_console: Opener, simulate: Simulate
) -> None:
    simulate("evil\x1b]52;c;aGk=\x07\x1b[2J[red]x[/]\u202e")
    terminal = open_console()
    terminal.wait_for("evil", "unloaded")
    sent = bytes(terminal.received)
    assert b"]52;c;aGk" not in sent.replace("␛]52;c;aGk".encode(), b"")
    assert "\u202e".encode() not in sent


def test_a_death_under_a_chat_is_told_where_the_operator_looks(
    open_console: Opener, simulate: Simulate
) -> None:
    simulate("talker", tokens_per_second=20, say=[" one", " word", " more"])
    terminal = open_console()
    terminal.wait_for("talker", "unloaded")
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_for("routable")
    terminal.send("c")
    terminal.wait_for("Chat")
    terminal.send("hello\r")
    terminal.wait_for("one word more one")
    (worker,) = terminal.workers()
    os.kill(worker.pid, signal.SIGSEGV)
    terminal.wait_for("model_unstable", "SIGSEGV")
    terminal.send("\x1b")
    terminal.wait_for("●○○", "Registry")
    assert "Traceback" not in terminal.text
