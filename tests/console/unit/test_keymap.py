"""Keys of an operator's own: what is wrong with them is said before the screen opens."""

import pytest

from console.commands import COMMANDS
from console.keymap import complaint


def test_the_keys_as_they_are_shipped_do_not_clash() -> None:
    assert complaint({}) is None


@pytest.mark.parametrize("keymap", [{"rescan": "f6", "sort": "t"}, {"up": "up, w"}])
def test_other_keys_are_taken(keymap: dict[str, str]) -> None:
    assert complaint(keymap) is None


def test_an_unknown_command_is_named_with_the_one_that_was_meant() -> None:
    said = complaint({"srot": "t"})
    assert said is not None
    assert "'srot'" in said
    assert "'sort'" in said


def test_a_name_near_none_gets_the_whole_list() -> None:
    said = complaint({"zzz": "t"}) or ""
    assert all(command.id in said for command in COMMANDS)


def test_a_key_that_two_commands_of_a_screen_would_share_is_told() -> None:
    said = complaint({"sort": "l"}) or ""
    assert "'l'" in said
    assert "'load'" in said
    assert "'sort'" in said


def test_two_commands_may_trade_their_keys() -> None:
    assert complaint({"sort": "l", "load": "s"}) is None


def test_an_empty_key_is_told() -> None:
    assert "empty" in (complaint({"sort": " "}) or "")
