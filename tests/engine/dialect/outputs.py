"""Outputs as the families write them, and the tools they were offered."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from engine.dialect import CallArguments, CallBegun, Piece, Splitter, Thought, Words

Tools = tuple[Mapping[str, object], ...]


def function(name: str, **properties: object) -> Mapping[str, object]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Tools = (
    function(
        "get_weather",
        city={"type": "string"},
        days={"type": "integer"},
        metric={"type": "boolean"},
        filters={"type": "object"},
        tags={"type": "array", "items": {"type": "string"}},
    ),
    function("now"),
    function("write_file", path={"type": "string"}, content={"type": "string"}),
)


@dataclass(frozen=True)
class Told:
    """What an answer came to."""

    thought: str = ""
    words: str = ""
    calls: tuple[tuple[str, Mapping[str, object]], ...] = ()
    ids: tuple[str, ...] = ()


def counted_ids() -> Callable[[], str]:
    numbers = count()
    return lambda: f"call_{next(numbers)}"


def splitter(
    tool_format: str,
    *,
    tools: Tools = TOOLS,
    thinking: tuple[str, str] | None = ("<think>", "</think>"),
    begins_thinking: bool = False,
    opening: str = "",
) -> Splitter:
    return Splitter(
        tool_format,
        thinking,
        begins_thinking=begins_thinking,
        tools=tools,
        opening=opening,
        new_id=counted_ids(),
    )


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours of one kind joined: what must not depend on the chunking."""
    out: list[Piece] = []
    for piece in pieces:
        match (out[-1] if out else None), piece:
            case Thought(before), Thought(after):
                out[-1] = Thought(before + after)
            case Words(before), Words(after):
                out[-1] = Words(before + after)
            case _:
                out.append(piece)
    return out


def split(taker: Splitter, chunks: Iterable[str]) -> list[Piece]:
    pieces = [piece for chunk in chunks for piece in taker.push(chunk)]
    return merged(pieces + taker.finish())


def told(pieces: Iterable[Piece]) -> Told:
    thought = words = ""
    names: list[str] = []
    ids: list[str] = []
    arguments: list[str] = []
    for piece in pieces:
        match piece:
            case Thought(text):
                thought += text
            case Words(text):
                words += text
            case CallBegun(index, chosen, name):
                assert index == len(names)
                names.append(name)
                ids.append(chosen)
                arguments.append("")
            case CallArguments(index, delta):
                arguments[index] += delta
    assert len(set(ids)) == len(ids)
    calls = tuple(zip(names, map(json.loads, arguments), strict=True))
    return Told(thought, words, calls, tuple(ids))


PARIS: Mapping[str, object] = {"city": "Paris", "days": 3, "metric": True}
BOTH: tuple[tuple[str, Mapping[str, object]], ...] = (("get_weather", PARIS), ("now", {}))

OUTPUTS: Mapping[str, tuple[str, str, Told]] = {
    "minimax": (
        "minimax_m2",
        (
            "<think>\nThe user wants the weather.\n</think>\n\nLet me look.\n<minimax:tool_call>\n"
            '<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
            '<parameter name="days">3</parameter>\n<parameter name="metric">true</parameter>\n'
            '</invoke>\n<invoke name="now">\n</invoke>\n</minimax:tool_call>'
        ),
        Told("The user wants the weather.", "Let me look.", BOTH),
    ),
    "minimax, no quotes": (
        "minimax_m2",
        (
            "<think>Weather.</think><minimax:tool_call><invoke name=get_weather>"
            "<parameter name=city>Paris</parameter><parameter name=days>3</parameter>"
            "<parameter name=metric>true</parameter></invoke><invoke name=now></invoke>"
            "</minimax:tool_call>"
        ),
        Told("Weather.", "", BOTH),
    ),
    "kimi": (
        "kimi_k2",
        (
            "I'll check.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
            '<|tool_call_argument_begin|>{"city": "Paris", "days": 3, "metric": true}'
            "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}"
            "<|tool_call_end|><|tool_calls_section_end|>"
        ),
        Told("", "I'll check.", BOTH, ("functions.get_weather:0", "functions.now:1")),
    ),
    "kimi, spaced": (
        "kimi_k2",
        (
            "<|tool_calls_section_begin|>\n<|tool_call_begin|>\nfunctions.get_weather:0"
            '<|tool_call_argument_begin|>\n{"city": "Paris", "days": "3", "metric": "true"}\n'
            "<|tool_call_end|>\n<|tool_call_begin|> functions.now:1 "
            "<|tool_call_argument_begin|> {} "
            "<|tool_call_end|>\n<|tool_calls_section_end|>\n"
        ),
        Told("", "", BOTH, ("functions.get_weather:0", "functions.now:1")),
    ),
    "kimi, no section": (
        "kimi_k2",
        (
            "<|tool_call_begin|>functions.get_weather:3<|tool_call_argument_begin|>"
            '{"city":"Paris","days":3,"metric":true}<|tool_call_end|>\n<|tool_call_begin|>'
            "functions.now:4<|tool_call_argument_begin|>{}<|tool_call_end|>"
        ),
        Told("", "", BOTH, ("functions.get_weather:3", "functions.now:4")),
    ),
    "kimi, calling while thinking": (
        "kimi_k2",
        (
            "<think>The weather first. <|tool_calls_section_begin|><|tool_call_begin|>"
            "functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|>"
            "<|tool_calls_section_end|>"
        ),
        Told("The weather first.", "", (("now", {}),), ("functions.now:0",)),
    ),
    "kimi, calling while thinking, no section": (
        "kimi_k2",
        (
            "<think>The weather first.<|tool_call_begin|>functions.now:0"
            "<|tool_call_argument_begin|>{}<|tool_call_end|>"
        ),
        Told("The weather first.", "", (("now", {}),), ("functions.now:0",)),
    ),
    "glm 4.7": (
        "glm47",
        (
            "<think>Weather.</think>I'll check.<tool_call>get_weather<arg_key>city</arg_key>"
            "<arg_value>Paris</arg_value><arg_key>days</arg_key><arg_value>3</arg_value>"
            "<arg_key>metric</arg_key><arg_value>true</arg_value></tool_call>"
            "<tool_call>now</tool_call>"
        ),
        Told("Weather.", "I'll check.", BOTH),
    ),
    "glm 4.5": (
        "glm47",
        (
            "\n<think>Weather.</think>\nI'll check.\n<tool_call>get_weather\n"
            "<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
            "<arg_value>3</arg_value>\n<arg_key>metric</arg_key>\n<arg_value>true</arg_value>\n"
            "</tool_call>\n<tool_call>now\n</tool_call>"
        ),
        Told("Weather.", "I'll check.", BOTH),
    ),
    "qwen coder": (
        "qwen3_coder",
        (
            "I'll check.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n"
            "</parameter>"
            "\n<parameter=days>\n3\n</parameter>\n<parameter=metric>\ntrue\n</parameter>\n</function>\n"
            "</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>"
        ),
        Told("", "I'll check.", BOTH),
    ),
    "qwen coder, two in one": (
        "qwen3_coder",
        (
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>"
            "\n<parameter=days>\n3\n</parameter>\n<parameter=metric>\ntrue\n</parameter>\n</function>\n"
            "<function=now>\n</function>\n</tool_call>"
        ),
        Told("", "", BOTH),
    ),
    "qwen coder, no opening tag": (
        "qwen3_coder",
        (
            "I'll check.\n\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
            "<parameter=days>\n3\n</parameter>\n<parameter=metric>\nTrue\n</parameter>\n</function>\n"
            "</tool_call>\n<function=now>\n</function>"
        ),
        Told("", "I'll check.", BOTH),
    ),
    "mistral, list": (
        "mistral",
        (
            '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris", "days": 3, '
            '"metric": true}, "id": "abc123def"}, {"name": "now", "arguments": {}, "id": '
            '"456ghi789"}]'
        ),
        Told("", "", BOTH, ("abc123def", "456ghi789")),
    ),
    "mistral, headers": (
        "mistral",
        (
            'Let me check.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3, "metric": true}'
            "[TOOL_CALLS]now[ARGS]{}"
        ),
        Told("", "Let me check.", BOTH),
    ),
    "mistral, ids": (
        "mistral",
        (
            '[TOOL_CALLS]get_weather[CALL_ID]abc123def[ARGS]{"city": "Paris", "days": 3, '
            '"metric": true}[TOOL_CALLS]now[CALL_ID]456ghi789[ARGS]{}'
        ),
        Told("", "", BOTH, ("abc123def", "456ghi789")),
    ),
    "mistral, no [ARGS]": (
        "mistral",
        '[TOOL_CALLS]get_weather{"city": "Paris", "days": 3, "metric": true}[TOOL_CALLS]now{}',
        Told("", "", BOTH),
    ),
    "json": (
        "json_tools",
        (
            'Let me check.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", '
            '"days": 3, "metric": true}}\n</tool_call>\n<tool_call>\n{"name": "now", '
            '"arguments": {}}'
            "\n</tool_call>"
        ),
        Told("", "Let me check.", BOTH),
    ),
    "json, text typed": (
        "json_tools",
        (
            '<think>\nOk.\n</think>\n\n<tool_call>{"name": "get_weather", "arguments": {"city": '
            '"Paris", "days": "3", "metric": "True"}}</tool_call>\n<tool_call>{"name": "now", '
            '"parameters": "{}"}</tool_call>\n\nDone.'
        ),
        Told("Ok.", "Done.", BOTH),
    ),
    "bare json": (
        "",
        '{"name": "get_weather", "parameters": {"city": "Paris", "days": "3", "metric": true}}',
        Told("", "", (BOTH[0],)),
    ),
    "bare json after thinking": (
        "",
        '<think>\nOk.\n</think>\n\n{\n  "name": "now",\n  "arguments": {}\n}\n',
        Told("Ok.", "", (BOTH[1],)),
    ),
}
