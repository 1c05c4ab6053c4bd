"""Raw outputs in every chunking: what a client gets may not depend on where a token ends."""

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialect import CallArguments, CallBegun, Thought, Words, forced_opening
from engine.dialect.parsers import MAX_BLOCK
from tests.engine.dialect.outputs import (
    OUTPUTS,
    TOOLS,
    Told,
    function,
    merged,
    split,
    splitter,
    told,
)

TAGS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<minimax:tool_call>",
    "</minimax:tool_call>",
    '<invoke name="now">',
    "</invoke>",
    "<function=now>",
    "</function>",
    "<parameter=city>",
    "</parameter>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}",
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
    "[TOOL_CALLS]",
    "now[ARGS]{}",
    "now",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    '{"name": "now", "arguments": {}}',
    '{"name": "now"',
)
FORMATS = ("", "json_tools", "minimax_m2", "kimi_k2", "glm47", "qwen3_coder", "mistral", "pythonic")

fragments = st.one_of(
    st.sampled_from(TAGS),
    st.sampled_from(TAGS).flatmap(lambda tag: st.integers(0, len(tag)).map(lambda n: tag[:n])),
    st.sampled_from([" ", "\n", "\n\n", "<", "[", "{", "a", "word ", "é"]),
    st.text(max_size=5),
)
texts = st.lists(fragments, max_size=14).map("".join)
pairs = st.sampled_from([None, ("<think>", "</think>"), ("<longcat_think>", "</longcat_think>")])


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    at = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    edges = [0, *at, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def partitions(text: str, seed: int) -> Iterator[list[str]]:
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]
    dice = random.Random(seed)
    for _ in range(50):
        cut = sorted(dice.sample(range(len(text) + 1), min(len(text), dice.randint(1, 30))))
        edges = [0, *cut, len(text)]
        yield [text[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_familys_output_is_understood_in_every_chunking(name: str) -> None:
    tool_format, text, expected = OUTPUTS[name]
    once = split(splitter(tool_format), [text])
    got = told(once)
    assert (got.thought, got.words, got.calls) == (expected.thought, expected.words, expected.calls)
    if expected.ids:
        assert got.ids == expected.ids
    for chunks in partitions(text, seed=len(text)):
        assert split(splitter(tool_format), chunks) == once


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_cut_short_loses_nothing_and_says_no_half_tag_before_its_end(name: str) -> None:
    tool_format, text, expected = OUTPUTS[name]
    for length in range(len(text)):
        taker = splitter(tool_format)
        early = merged([piece for character in text[:length] for piece in taker.push(character)])
        early_words = told(early).words
        assert expected.words.startswith(early_words.rstrip()) or not expected.words
        assert not any(mark in early_words for mark in "<[{|")
        late = told(early + taker.finish())
        assert late.calls == expected.calls[: len(late.calls)]
        if not late.calls and not late.thought and "<think>" not in text[:length]:
            assert late.words == text[:length]


@settings(deadline=None)
@given(st.data(), texts, st.sampled_from(FORMATS), pairs, st.booleans(), st.booleans())
def test_no_text_is_told_differently_in_another_chunking(
    data: st.DataObject,
    text: str,
    tool_format: str,
    pair: tuple[str, str] | None,
    begun: bool,
    offered: bool,
) -> None:
    def fresh() -> list[str]:
        return data.draw(cuts(text))

    tools = TOOLS if offered else ()
    made = [
        split(
            splitter(tool_format, tools=tools, thinking=pair, begins_thinking=begun),
            chunks,
        )
        for chunks in ([text], list(text), fresh(), fresh())
    ]
    assert all(pieces == made[0] for pieces in made)


@settings(deadline=None)
@given(texts.filter(lambda text: not text.lstrip().startswith(("<t", "</t", "<"))))
def test_without_tools_and_thinking_the_text_is_left_as_it_is(text: str) -> None:
    assert told(split(splitter("minimax_m2", tools=(), thinking=None), [text])).words == text


@pytest.mark.parametrize("tool_format", FORMATS)
def test_tool_markup_is_text_where_no_tools_were_offered(tool_format: str) -> None:
    for _, text, expected in OUTPUTS.values():
        got = told(split(splitter(tool_format, tools=()), list(text)))
        assert got.calls == ()
        after = text.rpartition("</think>")[2] if expected.thought else text
        if "</think>" in text or not expected.thought:
            assert got.words == (after.lstrip() if expected.thought else text)


@pytest.mark.parametrize(
    ("text", "begun", "pair", "thought", "words"),
    [
        ("<think>\nHm.\n</think>\n\nHello", False, None, "Hm.", "Hello"),
        ("Hm.\n</think>\n\nHello", True, ("<think>", "</think>"), "Hm.", "Hello"),
        ("Hm.</think>Hello", True, None, "Hm.", "Hello"),
        ("<think>Hm.</think>Hello", True, None, "Hm.", "Hello"),
        ("\n<think>Hm.", False, None, "Hm.", ""),
        ("Hm. And", True, None, "Hm. And", ""),
        ("Hm.</thi", True, None, "Hm.</thi", ""),
        ("<think></think>\nHello\n", False, None, "", "Hello\n"),
        ("</think>\n\nHello", False, None, "", "Hello"),
        ("<think>a</think>\n<think>b</think>c", False, None, "ab", "c"),
        ("Use <think> to think.", False, None, "", "Use <think> to think."),
        ("\n  Hello", False, None, "", "\n  Hello"),
        (" \n", False, None, "", " \n"),
        ("<thinking>no</thinking>", False, None, "", "<thinking>no</thinking>"),
        (
            "<longcat_think>Hm.</longcat_think>Yes",
            False,
            ("<longcat_think>", "</longcat_think>"),
            "Hm.",
            "Yes",
        ),
        ("<think>Hm.</think>Yes", False, ("<longcat_think>", "</longcat_think>"), "Hm.", "Yes"),
        ("Hm.<channel|>Yes", True, ("<|channel>thought", "<channel|>"), "Hm.", "Yes"),
    ],
)
def test_thinking_is_told_from_content(
    text: str, begun: bool, pair: tuple[str, str] | None, thought: str, words: str
) -> None:
    for chunks in partitions(text, seed=1):
        for tools in ((), TOOLS):
            taker = splitter("json_tools", tools=tools, thinking=pair, begins_thinking=begun)
            assert told(split(taker, chunks)) == Told(thought, words)


def test_thinking_streams_as_it_comes() -> None:
    taker = splitter("json_tools")
    assert taker.push("<think>\n") == []
    assert taker.push("One") == [Thought("One")]
    assert taker.push(" two\n</thi") == [Thought(" two")]
    assert taker.push("nk>\n\n") == []
    assert taker.push("Three") == [Words("Three")]
    assert taker.push(" <tool") == []
    assert taker.push("box") == [Words(" <toolbox")]


def test_a_call_comes_out_when_its_block_is_complete() -> None:
    taker = splitter("json_tools")
    assert taker.push('<tool_call>{"name": "get_weather", "arguments": {"days": "5"}}') == []
    begun, arguments = taker.push("</tool_call>")
    assert begun == CallBegun(0, "call_0", "get_weather")
    assert arguments == CallArguments(0, '{"days": 5}')
    assert taker.push("\n") == []
    assert taker.finish() == []


@pytest.mark.parametrize(
    ("tool_format", "text"),
    [
        ("json_tools", '<tool_call>{"name": "now", "arguments": {}</tool_call>'),
        ("json_tools", '<tool_call>{"name": "now", "arguments": []}</tool_call> and on'),
        ("json_tools", '<tool_call>{"name": "now", "arguments": {}}'),
        ("json_tools", '<tool_call>{"name": "nobody", "arguments": {}}</tool_call>'),
        ("json_tools", '<tool_call>{"name": "now", "arguments": {"x": NaN}}</tool_call>'),
        ("json_tools", "<tool_call>" + "[" * 50_000 + "</tool_call>"),
        ("json_tools", '<tool_call>{"name": "now", "arguments": ' + "9" * 9999 + "}</tool_call>"),
        ("json_tools", "Write <tool_call> around a call.\n"),
        ("json_tools", "<tool_call></tool_call>"),
        ("json_tools", "<tool_call>\n"),
        ("minimax_m2", '<minimax:tool_call><invoke name="now"></minimax:tool_call>'),
        (
            "minimax_m2",
            '<minimax:tool_call><invoke name="now">{"a": 1}</invoke></minimax:tool_call>',
        ),
        (
            "minimax_m2",
            (
                '<minimax:tool_call><invoke name="now"></invoke><invoke name="now">'
                "</minimax:tool_call>"
            ),
        ),
        (
            "minimax_m2",
            (
                '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">'
                "Par\n</invoke>\n</minimax:tool_call>"
            ),
        ),
        (
            "kimi_k2",
            (
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0"
                "<|tool_call_argument_begin|>{<|tool_call_end|><|tool_calls_section_end|>"
            ),
        ),
        (
            "kimi_k2",
            (
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0"
                "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_begin|>functions.now:1"
                "<|tool_calls_section_end|>"
            ),
        ),
        ("glm47", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</tool_call>"),
        ("glm47", "<tool_call>is what I would write</tool_call>"),
        ("glm47", "<tool_call>get_weather in Paris</tool_call>"),
        (
            "qwen3_coder",
            (
                "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</function>\n"
                "</tool_call>"
            ),
        ),
        ("qwen3_coder", "<tool_call>\n<function=now>\n</tool_call>"),
        ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Par'),
        ("mistral", "[TOOL_CALLS]now[ARGS]{} and words"),
        ("mistral", '[TOOL_CALLS][{"name": "now"}'),
        ("pythonic", "<|tool_call_start|>[now(" + "-" * 9000 + "1)]<|tool_call_end|>"),
        ("", '{"name": "now"}'),
        ("", '{"name": "nobody", "arguments": {}}'),
        ("", '{"name": "now", "arguments": {}} and words'),
        ("", '{"city": "Paris"}'),
        ("", "{not json}"),
        ("", "{"),
        ("nobody_knows_this", '<tool_call>{"name": "now", "arguments": {}}</tool_call>'),
        ("../glm47", "<tool_call>now</tool_call>"),
    ],
)
def test_what_is_no_call_is_text_as_written(tool_format: str, text: str) -> None:
    for chunks in ([text], list(text)):
        assert told(split(splitter(tool_format), chunks)) == Told(words=text)


def test_a_damaged_call_does_not_spoil_the_next() -> None:
    good = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    for bad in ('<tool_call>{"name": "now"</tool_call>', '<tool_call>{"name": "now"'):
        got = told(split(splitter("json_tools"), list(f"{bad}\n{good}")))
        assert got == Told(words=got.words, calls=(("now", {}),), ids=("call_0",))
        assert got.words.rstrip() == bad


def test_space_around_calls_is_dropped_and_text_around_them_kept() -> None:
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    got = told(split(splitter("json_tools"), [f"\n\nFirst. \n{call}\n \n{call}\n\n Then.\n"]))
    assert got.words == "\n\nFirst.Then.\n"
    assert len(got.calls) == 2
    assert told(split(splitter("json_tools"), [f"\n {call} \n"])).words == ""


def test_a_block_longer_than_the_bound_is_text() -> None:
    def call(size: int) -> str:
        padding = "x" * size
        said = f'{{"name": "write_file", "arguments": {{"content": "{padding}"}}}}'
        return f"<tool_call>{said}</tool_call>"

    fits = call(MAX_BLOCK - len(call(0)))
    assert len(told(split(splitter("json_tools"), [fits])).calls) == 1
    longer = call(MAX_BLOCK - len(call(0)) + 1)
    sized = [longer[at : at + 700] for at in range(0, len(longer), 700)]
    for chunks in ([longer], sized):
        assert told(split(splitter("json_tools"), chunks)) == Told(words=longer)


@pytest.mark.parametrize(
    ("tool_format", "rest"),
    [
        ("json_tools", '{"city": "Paris"}}\n</tool_call>'),
        ("minimax_m2", '<parameter name="city">Paris</parameter></invoke></minimax:tool_call>'),
        ("kimi_k2", '{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>'),
        ("glm47", "<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>"),
        ("qwen3_coder", "<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"),
        ("mistral", '{"city": "Paris"}'),
        ("pythonic", 'city="Paris")]<|tool_call_end|>'),
        ("function_gemma", "city:<escape>Paris<escape>}<end_function_call>"),
        ("gemma4", 'city:<|"|>Paris<|"|>}<tool_call|>'),
        (
            "longcat",
            (
                "<longcat_arg_key>city</longcat_arg_key><longcat_arg_value>Paris"
                "</longcat_arg_value></longcat_tool_call>"
            ),
        ),
        ("laguna", "<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>"),
        ("minicpm5", '<param name="city">Paris</param></function>'),
        (
            "muse_spark",
            (
                '<atem:parameter name="city">Paris</atem:parameter></atem:invoke>'
                "</atem:function_calls>"
            ),
        ),
        (
            "kimi_k3",
            (
                '<|open|>argument key="city" type="string"<|sep|>Paris<|close|>argument<|sep|>'
                "<|close|>call<|sep|><|close|>tools<|sep|>"
            ),
        ),
    ],
)
def test_a_forced_opening_is_read_as_if_the_model_had_written_it(
    tool_format: str, rest: str
) -> None:
    opening = forced_opening(tool_format, "get_weather")
    expected = (("get_weather", {"city": "Paris"}),)
    for chunks in ([rest], list(rest)):
        got = told(split(splitter(tool_format, opening=opening), chunks))
        assert got.calls == expected
        assert got.words == ""
        closing = splitter(tool_format, begins_thinking=True, opening=f"</think>\n\n{opening}")
        assert told(split(closing, chunks)).calls == expected
        assert (
            told(split(splitter(tool_format, begins_thinking=True, opening=opening), chunks)) == got
        )
    any_tool = forced_opening(tool_format, None)
    assert opening.startswith(any_tool)
    begun = opening.removeprefix(any_tool) + rest
    assert told(split(splitter(tool_format, opening=any_tool), [begun])).calls == expected


def test_an_id_used_twice_is_replaced_the_second_time() -> None:
    call = "<|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|>"
    got = told(split(splitter("kimi_k2"), [call + call]))
    assert got.ids == ("functions.now:0", "call_0")


def test_values_come_through_untouched_where_the_schema_wants_text() -> None:
    code = '    if x < 1 and "<b>" in y:\n        return "null"\n\n'
    text = (
        '<minimax:tool_call>\n<invoke name="write_file">\n<parameter name="path">007</parameter>\n'
        f'<parameter name="content">{code}</parameter>\n</invoke>\n</minimax:tool_call>'
    )
    [(name, arguments)] = told(split(splitter("minimax_m2"), list(text))).calls
    assert name == "write_file"
    assert arguments["path"] == "007"
    assert arguments["content"] == code.removesuffix("\n")


def test_arguments_are_json_that_any_client_can_carry() -> None:
    text = '<tool_call>{"name": "write_file", "arguments": {"content": "é \\ud800"}}</tool_call>'
    pieces = split(splitter("json_tools", tools=TOOLS), [text])
    [arguments] = [piece for piece in pieces if isinstance(piece, CallArguments)]
    arguments.delta.encode()


def test_a_tool_without_parameters_takes_what_the_model_wrote() -> None:
    bare = ({"type": "function", "function": {"name": "ping"}},)
    text = "<tool_call>ping<arg_key>n</arg_key><arg_value>3</arg_value></tool_call>"
    assert told(split(splitter("glm47", tools=bare), [text])).calls == (("ping", {"n": 3}),)
    assert function("ping") != bare[0]
