import pytest

from engine.dialect import forced_opening
from engine.dialect.opening import _AFTER_NAME, _ANY
from engine.dialect.parsers import parser_for


@pytest.mark.parametrize("tool_format", _ANY)
def test_every_opening_begins_a_block_of_its_format(tool_format: str) -> None:
    parser = parser_for(tool_format)
    assert parser is not None
    for name in (None, "get-weather_2"):
        opening = forced_opening(tool_format, name)
        assert opening.startswith(parser.brackets[0].start)
    assert "get-weather_2" in opening
    assert _AFTER_NAME.keys() == _ANY.keys()


@pytest.mark.parametrize("tool_format", ["", "nobody_knows_this", "../json_tools"])
def test_an_unknown_format_forces_nothing(tool_format: str) -> None:
    assert forced_opening(tool_format, "now") == ""
    assert forced_opening(tool_format, None) == ""


@pytest.mark.parametrize("name", ["", "a b", 'x"><b', "é", "x" * 65, "x\n", "x>"])
def test_a_name_that_could_close_its_markup_forces_nothing(name: str) -> None:
    assert forced_opening("minimax_m2", name) == ""
