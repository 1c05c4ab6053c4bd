"""What the environment says of a terminal."""

import base64

import pytest

from console.clipboard import clipboard_sequence
from console.terminal import actor_name, read_terminal


def test_over_ssh_the_client_is_the_actor_and_the_mouse_is_left_alone() -> None:
    env = {"SSH_CLIENT": "10.0.0.7 50022 22", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    terminal = read_terminal(env, tty=True, encoding="utf-8", user="ops")
    assert terminal.actor == "ops@10.0.0.7"
    assert not terminal.mouse
    assert terminal.usable
    assert not terminal.ascii_only
    assert actor_name({"SSH_CONNECTION": "fe80::1 1 2 3"}, "ops") == "ops@fe80::1"
    assert actor_name({}, "ops") == "ops@local"


def test_a_dumb_or_missing_terminal_is_not_usable() -> None:
    assert not read_terminal({"TERM": "dumb"}, tty=True, encoding="utf-8").usable
    assert not read_terminal({}, tty=True, encoding="utf-8").usable
    assert not read_terminal({"TERM": "xterm"}, tty=False, encoding="utf-8").usable


def test_ascii_without_utf8() -> None:
    assert read_terminal({"TERM": "xterm", "LANG": "C"}, tty=True, encoding="utf-8").ascii_only
    assert read_terminal({"TERM": "xterm"}, tty=True, encoding="latin-1").ascii_only
    env = {"LC_ALL": "de_DE.UTF-8", "LANG": "C"}
    assert not read_terminal(env, tty=True, encoding="UTF8").ascii_only


def test_an_empty_no_color_means_nothing() -> None:
    assert not read_terminal({"NO_COLOR": ""}, tty=True).no_color
    assert read_terminal({"NO_COLOR": "1"}, tty=True).no_color


def test_clipboard() -> None:
    bare = clipboard_sequence("grüß", tmux=False)
    assert bare is not None
    payload = bare.removeprefix("\x1b]52;c;").removesuffix("\x07")
    assert base64.b64decode(payload).decode() == "grüß"
    wrapped = clipboard_sequence("x", tmux=True)
    assert wrapped is not None
    assert wrapped.endswith("\x1b\\")
    assert "\x1bPtmux;\x1b\x1b]52;c;" in wrapped
    assert clipboard_sequence("x" * 60_000, tmux=False) is None


@pytest.mark.parametrize(
    ("env", "few"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "screen"}, True),
        ({"TERM": "linux"}, True),
        ({"TERM": "rxvt-16color"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "tmux-256color"}, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False),
    ],
)
def test_sixteen_colours_are_known_from_the_environment(env: dict[str, str], few: bool) -> None:
    assert read_terminal(env, tty=True, encoding="utf-8").few_colours is few
