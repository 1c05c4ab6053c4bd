"""The families that write calls as tags, made safe for mlx-lm's parsers.

The parsers are made for well-formed text: on any other they skip what they do not know, or try
every way to read it. Here a block is cut into its elements first, so that a damaged call is never
half a call and no pattern meets text it could be slow on.
"""

from collections.abc import Callable

from engine.dialect.calls import Call, calls_said
from engine.dialect.elements import MAX_HEAD, Malformed, elements, head
from engine.dialect.notation import MAX_GUESSED, Parse, read_json
from engine.dialect.values import Values

_CDATA = ("<![CDATA[", "]]>")


def _children(text: str, opening: str, closing: str, keep: Callable[[str], str]) -> str:
    """Elements with a head each (``<parameter name="a">``), written again with values kept."""
    written: list[str] = []
    for child in elements(text, (opening, closing)):
        name, value = head(child, ">")
        written.append(f"{opening}{name}>{keep(value)}{closing}")
    return "".join(written)


def read_invokes(parse: Parse, text: str, prefix: str = "") -> tuple[Call, ...]:
    """MiniMax: ``<invoke name="x"><parameter name="a">…</parameter></invoke>``, once or more.

    Args:
        prefix: What stands before each tag's name (``atem:`` for Muse Spark).
    """
    opening, closing = f"<{prefix}invoke", f"</{prefix}invoke>"
    values = Values()
    invokes: list[str] = []
    for invoke in elements(text, (opening, closing)):
        name, inside = head(invoke, ">")
        tags = f"<{prefix}parameter", f"</{prefix}parameter>"
        parameters = _children(inside, *tags, values.keep_line)
        invokes.append(f"{opening}{name}>{parameters}{closing}")
    return values.restored(parse("".join(invokes)), untyped=True)


def read_atem(parse: Parse, text: str) -> tuple[Call, ...]:
    """Muse Spark: MiniMax's elements under other names."""
    return read_invokes(parse, text, "atem:")


def read_functions(parse: Parse, text: str) -> tuple[Call, ...]:
    """Qwen3 Coder: ``<function=x><parameter=a>…</parameter></function>``; its parser reads one."""
    calls: list[Call] = []
    for function in elements(text, ("<function=", "</function>")):
        name, inside = head(function, ">")
        values = Values()
        parameters = _children(inside, "<parameter=", "</parameter>", values.keep_line)
        whole = f"<function={name}>{parameters}</function>"
        calls.extend(values.restored(parse(whole), untyped=True))
    return tuple(calls)


def read_minicpm(parse: Parse, text: str) -> tuple[Call, ...]:
    """MiniCPM5: ``"x"><param name="a">…</param>``, where a value may be a CDATA section."""
    values = Values()

    def keep(value: str) -> str:
        bare = value.strip()
        section = bare.startswith(_CDATA[0]) and bare.endswith(_CDATA[1])
        return values.keep(bare[len(_CDATA[0]) : -len(_CDATA[1])] if section else bare)

    name, inside = head(text, ">")
    parameters = _children(inside, "<param name=", "</param>", keep)
    return values.restored(parse(f"{name}>{parameters}"), untyped=True)


def _read_pairs(parse: Parse, text: str, key_tag: str, value_tag: str) -> tuple[Call, ...]:
    tags = (f"<{key_tag}>", f"</{key_tag}>"), (f"<{value_tag}>", f"</{value_tag}>")
    name, first, pairs = text.partition(tags[0][0])
    if len(name) > MAX_HEAD:
        raise Malformed("a name that long is none")
    values = Values()
    parts = list(elements(first + pairs, *tags))
    written = "".join(
        f"{tags[0][0]}{key}{tags[0][1]}{tags[1][0]}{values.keep_line(value)}{tags[1][1]}"
        for key, value in zip(parts[::2], parts[1::2], strict=True)
    )
    return values.restored(parse(name + written), untyped=True)


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


def read_xtml(parse: Parse, text: str) -> tuple[Call, ...]:
    """Kimi K3, whose values carry their types and whose parser leaves out what it cannot read."""
    said = list(elements(text, ("<|open|>call", "<|close|>call<|sep|>")))
    for call in said:
        _, inside = head(call, "<|sep|>")
        kind = "json" if inside.lstrip().startswith("<|open|>json") else "argument"
        for child in elements(inside, (f"<|open|>{kind}", f"<|close|>{kind}<|sep|>")):
            head(child, "<|sep|>")
    calls = calls_said(parse(text))
    if len(calls) != len(said):
        raise Malformed("one of the calls is damaged")
    return calls
