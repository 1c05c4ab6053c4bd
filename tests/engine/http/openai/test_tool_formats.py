"""How each family writes its calls, played by simulated models, whole and letter by letter."""

import json
from collections.abc import Callable

import pytest

from tests.end_to_end.conftest import ACTOR
from tests.engine.http.conftest import OpenApi
from tests.engine.http.openai.conftest import Connect
from tests.engine.http.openai.test_chat import HELLO, WEATHER

Simulate = Callable[..., str]
OUTPUTS = {
    "minimax_m2": (
        "<think>\nParis, then.\n</think>\n\n<minimax:tool_call>\n<invoke name=get_weather>\n"
        "<parameter name=city>Paris</parameter>\n<parameter name=days>3</parameter>\n</invoke>\n"
        '<invoke name="get_weather">\n<parameter name="city">Rome</parameter>\n'
        '<parameter name="days">1</parameter>\n</invoke>\n</minimax:tool_call>'
    ),
    "kimi_k2": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        '<|tool_call_argument_begin|>{"city": "Paris", "days": 3}<|tool_call_end|>'
        "<|tool_call_begin|>functions.get_weather:1<|tool_call_argument_begin|>"
        '{"city": "Rome", "days": 1}<|tool_call_end|><|tool_calls_section_end|>'
    ),
    "glm47": (
        "<think>Paris and Rome.</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>"
        "Paris</arg_value><arg_key>days</arg_key><arg_value>3</arg_value></tool_call>"
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Rome</arg_value>"
        "<arg_key>days</arg_key><arg_value>1</arg_value></tool_call>"
    ),
    "qwen3_coder": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n"
        "<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n1\n"
        "</parameter>\n</function>\n</tool_call>"
    ),
    "mistral": (
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}'
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome", "days": 1}'
    ),
    "json_tools": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n'
        '</tool_call>\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", '
        '"days": "1"}}\n</tool_call>'
    ),
}
WANTED = [{"city": "Paris", "days": 3}, {"city": "Rome", "days": 1}]


@pytest.mark.parametrize("tool_format", sorted(OUTPUTS))
async def test_calls_come_out_as_calls_however_they_are_cut(
    open_api: OpenApi, simulate: Simulate, connect: Connect, tool_format: str
) -> None:
    output = OUTPUTS[tool_format]
    models = [
        simulate("whole", say=[output], tool_format=tool_format),
        simulate("letters", say=list(output), tool_format=tool_format, tokens_per_second=5000),
    ]
    api = await open_api()
    client = connect(api)
    for model in models:
        await api.engine.load(model, actor=ACTOR, wait=True)
        asked = {"model": model, "messages": HELLO, "tools": [WEATHER]}
        answer = await client.chat.completions.create(**asked)
        (choice,) = answer.choices
        calls = choice.message.tool_calls
        assert [json.loads(call.function.arguments) for call in calls] == WANTED
        assert {call.function.name for call in calls} == {"get_weather"}
        assert len({call.id for call in calls}) == 2
        assert not choice.message.content
        assert choice.finish_reason == "tool_calls"
        told: dict[int, str] = {}
        content = ""
        async for chunk in await client.chat.completions.create(**asked, stream=True):
            for piece in chunk.choices:
                content += piece.delta.content or ""
                for call in piece.delta.tool_calls or ():
                    told[call.index] = told.get(call.index, "") + (call.function.arguments or "")
        assert [json.loads(told[index]) for index in sorted(told)] == WANTED
        assert content == ""
