"""What each family's markup must look like before mlx-lm's parser reads it.

The parsers are made for well-formed text: on any other they skip what they do not know, or try
every way to read it. Here the text is cut into its elements first, so that a damaged call is never
half a call and no pattern meets text it could be slow on. Values are kept aside while a parser
reads the structure: the parsers strip them, read ``null`` and numbers into texts, and evaluate
Python; the tool's schema decides instead (``coercion``).
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from engine.dialect.calls import Call, calls_said
from engine.dialect.elements import MAX_HEAD, Malformed, elements, head

Parse = Callable[[str], object]

MAX_GUESSED = 16 * 1024
"""Characters of a block handed to a parser that tries several forms, some of them slowly."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_MISTRAL_HEAD = re.compile(
    r"\s*([\w.-]{1,64})\s{0,64}(?:\[CALL_ID\]\s{0,64}([\w-]{1,64})\s{0,64})?(?:\[ARGS\]\s{0,64})?(?=\{)"
)


class _Values:
    """Values kept aside, each behind a text that no parser takes for anything but a text."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def keep(self, value: str) -> str:
        """A stand-in. One newline on either side belongs to the markup, not to the value."""
        stand_in = f"@{len(self._kept)}"
        self._kept[stand_in] = value.removeprefix("\n").removesuffix("\n")
        return stand_in

    def restored(self, said: object) -> tuple[Call, ...]:
        calls: list[Call] = []
        for call in calls_said(said):
            arguments = {key: self._kept[str(mark)] for key, mark in call.arguments.items()}
            calls.append(replace(call, arguments=arguments, untyped=True))
        return tuple(calls)


def _documents(text: str) -> Iterator[object]:
    """The JSON values of a text that holds nothing else."""
    at = len(text) - len(text.lstrip())
    while at < len(text):
        value, at = _DECODER.raw_decode(text, at)
        yield value
        found = _SPACE.match(text, at)
        at = found.end() if found else at


def read_json(text: str) -> tuple[Call, ...]:
    """One or more JSON objects, or lists of them, such as ``{"name": …, "arguments": {…}}``."""
    return tuple(call for said in _documents(text) for call in calls_said(said))


def read_bare_object(text: str) -> tuple[Call, ...]:
    """A whole answer that is one JSON object with a name and arguments (or ``parameters``)."""
    said = json.loads(text)
    if not isinstance(said, dict) or not said.keys() & {"arguments", "parameters"}:
        raise Malformed("an object, but no call")
    return calls_said(said)


def read_plainly(parse: Parse, text: str) -> tuple[Call, ...]:
    """As the family's parser reads it, for the formats nothing is known against."""
    return calls_said(parse(text))


def read_untyped(parse: Parse, text: str) -> tuple[Call, ...]:
    """As ``read_plainly``, where every value is a text."""
    return tuple(replace(call, untyped=True) for call in calls_said(parse(text)))


def read_invokes(parse: Parse, text: str) -> tuple[Call, ...]:
    """MiniMax: ``<invoke name="x"><parameter name="a">…</parameter></invoke>``, once or more."""
    values = _Values()
    invokes: list[str] = []
    for invoke in elements(text, ("<invoke name=", "</invoke>")):
        name, inside = head(invoke, ">")
        parameters: list[str] = []
        for parameter in elements(inside, ("<parameter name=", "</parameter>")):
            key, value = head(parameter, ">")
            parameters.append(f"<parameter name={key}>{values.keep(value)}</parameter>")
        invokes.append(f"<invoke name={name}>{''.join(parameters)}</invoke>")
    return values.restored(parse("".join(invokes)))


def read_functions(parse: Parse, text: str) -> tuple[Call, ...]:
    """Qwen3 Coder: ``<function=x><parameter=a>…</parameter></function>``; its parser reads one."""
    calls: list[Call] = []
    for function in elements(text, ("<function=", "</function>")):
        name, inside = head(function, ">")
        values = _Values()
        parameters: list[str] = []
        for parameter in elements(inside, ("<parameter=", "</parameter>")):
            key, value = head(parameter, ">")
            parameters.append(f"<parameter={key}>{values.keep(value)}</parameter>")
        whole = f"<function={name}>{''.join(parameters)}</function>"
        calls.extend(values.restored(parse(whole)))
    return tuple(calls)


def _read_pairs(parse: Parse, text: str, key_tag: str, value_tag: str) -> tuple[Call, ...]:
    tags = (f"<{key_tag}>", f"</{key_tag}>"), (f"<{value_tag}>", f"</{value_tag}>")
    name, first, pairs = text.partition(tags[0][0])
    if len(name) > MAX_HEAD:
        raise Malformed("a name that long is none")
    values = _Values()
    parts = list(elements(first + pairs, *tags))
    written = "".join(
        f"{tags[0][0]}{key}{tags[0][1]}{tags[1][0]}{values.keep(value)}{tags[1][1]}"
        for key, value in zip(parts[::2], parts[1::2], strict=True)
    )
    return values.restored(parse(name + written))


def read_glm(parse: Parse, text: str) -> tuple[Call, ...]:
    """GLM: a name, then ``<arg_key>…</arg_key><arg_value>…</arg_value>`` pairs, spaced or not."""
    if "<arg_key>" in text:
        return _read_pairs(parse, text, "arg_key", "arg_value")
    if len(text) > MAX_GUESSED:
        raise Malformed("too long to guess at")
    calls = calls_said(parse(text))
    if any(list(call.arguments) == ["raw"] for call in calls):
        raise Malformed("the parser found a name and could not read the rest")
    return calls


def read_longcat(parse: Parse, text: str) -> tuple[Call, ...]:
    """LongCat: GLM's pairs under other names, or JSON."""
    if "<longcat_arg_key>" in text:
        return _read_pairs(parse, text, "longcat_arg_key", "longcat_arg_value")
    return read_json(text)


def read_kimi(parse: Parse, text: str) -> tuple[Call, ...]:
    """Kimi K2: ``functions.x:0<|tool_call_argument_begin|>{…}``, one, or each in its own tags."""
    begin, end = "<|tool_call_begin|>", "<|tool_call_end|>"
    calls: list[Call] = []
    for said in elements(text, (begin, end)) if begin in text else (text,):
        name, arguments = head(said, "<|tool_call_argument_begin|>")
        if not arguments.lstrip().startswith("{"):
            raise Malformed("the arguments are no JSON object")
        calls.extend(calls_said(parse(f"{name}<|tool_call_argument_begin|>{arguments.strip()}")))
    return tuple(calls)


def read_kimi_xtml(parse: Parse, text: str) -> tuple[Call, ...]:
    """Kimi K3, whose parser leaves out the calls it cannot read."""
    said = list(elements(text, ("<|open|>call", "<|close|>call<|sep|>")))
    calls = calls_said(parse(text))
    if len(calls) != len(said):
        raise Malformed("one of the calls is damaged")
    return calls


def read_mistral(parse: Parse, text: str) -> tuple[Call, ...]:
    """Mistral: ``[{"name": …, "arguments": {…}}]``, or ``name[ARGS]{…}`` and its relatives.

    The relatives are ``name[CALL_ID]id[ARGS]{…}``, whose id mlx-lm would take for the name, and
    ``name{…}``, which is left when a detokenizer drops ``[ARGS]``.
    """
    if text.lstrip().startswith("["):
        return calls_said(parse(text.strip()))
    calls: list[Call] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _MISTRAL_HEAD.match(text, at)
        if found is None:
            raise Malformed("expected a name and its arguments")
        _, at = _DECODER.raw_decode(text, found.end())
        said = calls_said(parse(f"{found[1]}[ARGS]{text[found.end() : at]}"))
        calls.extend(replace(call, id=found[2]) for call in said)
    return tuple(calls)
