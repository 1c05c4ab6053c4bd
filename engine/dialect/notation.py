"""The families that write calls as JSON or something like it, made safe for mlx-lm's parsers."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from engine.dialect.calls import Call, calls_said
from engine.dialect.elements import MAX_ELEMENTS, Malformed, elements, head
from engine.dialect.values import Values

Parse = Callable[[str], object]

MAX_GUESSED = 16 * 1024
"""Characters of a block handed to a parser that tries several forms, some of them slowly."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_MISTRAL_HEAD = re.compile(
    r"\s*([\w.-]{1,64})\s{0,64}(?:\[CALL_ID\]\s{0,64}([\w-]{1,64})\s{0,64})?(?:\[ARGS\]\s{0,64})?(?=\{)"
)
_GEMMA_CALL = re.compile(r"\s*call:[\w-]{1,64}(?=\{)")
_GEMMA_MARK = re.compile(r'<\|"\|>|[{}]')


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
    said = tuple(islice(_documents(text), MAX_ELEMENTS + 1))
    if len(said) > MAX_ELEMENTS:
        raise Malformed("too many calls")
    return tuple(call for document in said for call in calls_said(document))


def read_bare_object(text: str) -> tuple[Call, ...]:
    """A whole answer that is one JSON object with a name and arguments (or ``parameters``)."""
    said = json.loads(text)
    if not isinstance(said, dict) or not said.keys() & {"arguments", "parameters"}:
        raise Malformed("an object, but no call")
    return calls_said(said)


def read_plainly(parse: Parse, text: str) -> tuple[Call, ...]:
    """As the family's parser reads it, for the formats nothing is known against."""
    return calls_said(parse(text))


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


def read_mistral(parse: Parse, text: str) -> tuple[Call, ...]:
    """Mistral: ``[{"name": …, "arguments": {…}}]``, or ``name[ARGS]{…}`` and its relatives.

    The relatives are ``name[CALL_ID]id[ARGS]{…}``, whose id mlx-lm would take for the name, and
    ``name{…}``, which is left when a detokenizer drops ``[ARGS]``.
    """
    if text.lstrip().startswith("["):
        json.loads(text)  # or mlx-lm goes on to look for the other form inside
        return calls_said(parse(text.strip()))
    calls: list[Call] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _MISTRAL_HEAD.match(text, at)
        if found is None or len(calls) == MAX_ELEMENTS:
            raise Malformed("expected a name and its arguments, and not so many")
        _, at = _DECODER.raw_decode(text, found.end())
        said = calls_said(parse(f"{found[1]}[ARGS]{text[found.end() : at]}"))
        calls.extend(replace(call, id=found[2]) for call in said)
    return tuple(calls)


def read_function_gemma(parse: Parse, text: str) -> tuple[Call, ...]:
    """FunctionGemma: ``call:x{a:<escape>…<escape>,b:1}``. Its parser ends at the first brace."""
    values = Values()
    outside = text.strip().split("<escape>")
    for at in range(1, len(outside), 2):
        outside[at] = values.keep(outside[at])
    braces = [brace for part in outside[::2] for brace in part if brace in "{}"]
    if braces != ["{", "}"] or not outside[-1].endswith("}") or len(outside) % 2 == 0:
        raise Malformed("expected one call and plain values")
    return values.restored(parse("<escape>".join(outside)), untyped=False)


def read_gemma(parse: Parse, text: str) -> tuple[Call, ...]:
    """Gemma 4: ``call:x{a:<|"|>…<|"|>,b:{c:1}}``, once or more; each call is read by itself."""
    calls: list[Call] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _GEMMA_CALL.match(text, at)
        if found is None:
            raise Malformed("expected a call")
        start, depth, quoted = at, 0, False
        for mark in _GEMMA_MARK.finditer(text, found.end()):
            if mark[0] == '<|"|>':
                quoted = not quoted
            elif not quoted:
                depth += 1 if mark[0] == "{" else -1
            if depth == 0:
                at = mark.end()
                break
        if at == start:
            raise Malformed("the call is not closed")
        calls.extend(calls_said(parse(text[start:at])))
    return tuple(calls)
