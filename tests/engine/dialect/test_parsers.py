"""The whole path from a block to its calls, on text that was written to hurt."""

import random

import pytest

from engine.dialect.parsers import MAX_BLOCK, parser_for
from tests.engine.dialect.outputs import split, splitter, told

MARKS = (
    "<invoke name=", '<invoke name="now">', "</invoke>", '<parameter name="a">', "</parameter>",
    "<function=now>", "</function>", "<parameter=a>", "<arg_key>", "</arg_key>", "<arg_value>",
    "</arg_value>", "<|tool_call_begin|>", "<|tool_call_end|>", "<|tool_call_argument_begin|>",
    "functions.now:0", "now", "[ARGS]", "[CALL_ID]", "call:now{", '<|"|>', "<escape>", "<|sep|>",
    "<|open|>call", "<|close|>call<|sep|>", "<|open|>argument", '"now">', '<param name="a">',
    "</param>", "<atem:invoke ", "</atem:invoke>", "{", "}", "[", "]", "(", ")", '"', "'", ",",
    ":", "=", "-", "\\", " ", "\n", "1", "x", '{"name": "now"}',
)  # fmt: skip
FORMATS = (
    "", "function_gemma", "gemma4", "glm47", "json_tools", "kimi_k2", "kimi_k3", "laguna",
    "longcat", "minicpm5", "minimax_m2", "mistral", "muse_spark", "pythonic", "qwen3_coder",
)  # fmt: skip


def hostile(tool_format: str, dice: random.Random) -> str:
    parser = parser_for(tool_format)
    bracket = parser.brackets[0] if parser else None
    limit = parser.limit if parser else MAX_BLOCK
    unit = "".join(dice.choices(MARKS, k=dice.randint(1, 4)))
    begin = dice.choice(bracket.begins or ("",)) if bracket else "{"
    start, end = (bracket.start, bracket.end) if bracket else ("", "")
    room = limit - len(start) - len(begin) - len(end)
    return start + begin + unit * (room // len(unit)) + end


@pytest.mark.parametrize("tool_format", FORMATS)
def test_the_longest_hostile_blocks_lose_nothing(tool_format: str) -> None:
    # Each takes milliseconds; a pattern that were quadratic on one would be noticed here.
    dice = random.Random(tool_format)
    for _ in range(12):
        text = hostile(tool_format, dice)
        got = told(split(splitter(tool_format), [text]))
        if not got.calls and not got.thought:
            assert got.words == text


def test_a_marker_followed_by_anything_else_is_let_go_at_once() -> None:
    taker = splitter("minimax_m2")
    assert told(taker.push("Write <minimax:tool_call>, then ")).words == (
        "Write <minimax:tool_call>, then"
    )


@pytest.mark.parametrize(
    ("tool_format", "text", "arguments"),
    [
        ("glm47", '<tool_call>{"name": "get_weather", "arguments": {"days": "2"}}</tool_call>',
         {"days": 2}),
        ("glm47", '<tool_call>get_weather\n{"days": 2}</tool_call>', {"days": 2}),
        ("glm47", "<tool_call>get_weather city=Paris days=2</tool_call>",
         {"city": "Paris", "days": 2}),
        ("glm47", ("<tool_call>get_weather<arg_key>city</arg_key><arg_value>007</arg_value>"
         "<arg_key>filters</arg_key>\n<arg_value>{'a': 1}</arg_value></tool_call>"),
         {"city": "007", "filters": {"a": 1}}),
        ("minimax_m2", ("<minimax:tool_call><invoke name='get_weather'><parameter name='tags'>"
         '["a", "b"]</parameter></invoke></minimax:tool_call>'), {"tags": ["a", "b"]}),
        ("json_tools", ('<tool_call>{"type": "function", "function": {"name": "get_weather", '
         '"arguments": "{\\"days\\": 2}"}}</tool_call>'), {"days": 2}),
        ("json_tools", ('<tool_call>[{"name": "get_weather", "parameters": {"days": 2.0}}]'
         "</tool_call>"), {"days": 2}),
        ("pythonic", "<|tool_call_start|>[get_weather(city='Paris', days=2)]<|tool_call_end|>",
         {"city": "Paris", "days": 2}),
        ("function_gemma", ("<start_function_call>call:get_weather{city:<escape>a}{b<escape>,"
         "days:2}<end_function_call>"), {"city": "a}{b", "days": 2}),
        ("gemma4", '<|tool_call>call:get_weather{city:<|"|>a}b<|"|>,filters:{a:{b:1}}}<tool_call|>',
         {"city": "a}b", "filters": {"a": {"b": 1}}}),
        ("minicpm5", ('<function name="get_weather"><param name="city"><![CDATA[<b>]]></param>'
         '<param name="days">2</param></function>'), {"city": "<b>", "days": 2}),
        ("muse_spark", ('<atem:function_calls><atem:invoke name="get_weather">'
         '<atem:parameter name="days">2</atem:parameter></atem:invoke></atem:function_calls>'),
         {"days": 2}),
        ("kimi_k3", ('<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|>'
         '<|open|>json type="object"<|sep|>{"days": "2"}<|close|>json<|sep|><|close|>call<|sep|>'
         "<|close|>tools<|sep|>"), {"days": 2}),
        ("kimi_k2", ("<|tool_call_section_begin|><|tool_call_begin|>get_weather:0"
         '<|tool_call_argument_begin|>{"days": 2}<|tool_call_end|><|tool_call_section_end|>'),
         {"days": 2}),
    ],
)  # fmt: skip
def test_further_forms_of_a_call(tool_format: str, text: str, arguments: object) -> None:
    for chunks in ([text], list(text)):
        got = told(split(splitter(tool_format), chunks))
        assert got.words == ""
        assert got.calls == (("get_weather", arguments),)
