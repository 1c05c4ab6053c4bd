"""Any call, written as each family writes it, comes back as it was."""

import json
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.dialect.outputs import function, split, splitter, told

Arguments = Mapping[str, object]
Made = tuple[str, Arguments]
SCHEMAS: Mapping[str, object] = {
    "text": {"type": "string"},
    "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "count": {"type": "integer"},
    "share": {"type": "number"},
    "sure": {"type": "boolean"},
    "list": {"type": "array"},
    "map": {"type": "object"},
}
TOOLS = (function("do-it", **SCHEMAS), function("undo_2", **SCHEMAS))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def minimax(calls: Sequence[Made]) -> str:
    invokes = (
        f'<invoke name="{name}">\n'
        + "".join(f'<parameter name="{k}">{_text(v)}</parameter>\n' for k, v in arguments.items())
        + "</invoke>\n"
        for name, arguments in calls
    )
    return f"<minimax:tool_call>\n{''.join(invokes)}</minimax:tool_call>"


def qwen(calls: Sequence[Made]) -> str:
    return "\n".join(
        f"<tool_call>\n<function={name}>\n"
        + "".join(f"<parameter={k}>\n{_text(v)}\n</parameter>\n" for k, v in arguments.items())
        + "</function>\n</tool_call>"
        for name, arguments in calls
    )


def glm(calls: Sequence[Made]) -> str:
    return "".join(
        f"<tool_call>{name}"
        + "".join(
            f"<arg_key>{k}</arg_key><arg_value>{_text(v)}</arg_value>" for k, v in arguments.items()
        )
        + "</tool_call>"
        for name, arguments in calls
    )


def kimi(calls: Sequence[Made]) -> str:
    said = (
        f"<|tool_call_begin|>functions.{name}:{at}<|tool_call_argument_begin|>"
        f"{json.dumps(arguments)}<|tool_call_end|>"
        for at, (name, arguments) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{''.join(said)}<|tool_calls_section_end|>"


def mistral_list(calls: Sequence[Made]) -> str:
    said = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return "[TOOL_CALLS]" + json.dumps(said)


def mistral_heads(calls: Sequence[Made]) -> str:
    return "".join(f"[TOOL_CALLS]{name}[ARGS]{json.dumps(arguments)}" for name, arguments in calls)


def plain_json(calls: Sequence[Made]) -> str:
    said = ({"name": name, "arguments": arguments} for name, arguments in calls)
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in said)


WRITERS: Mapping[str, tuple[str, Callable[[Sequence[Made]], str]]] = {
    "glm": ("glm47", glm),
    "json": ("json_tools", plain_json),
    "kimi": ("kimi_k2", kimi),
    "minimax": ("minimax_m2", minimax),
    "mistral, heads": ("mistral", mistral_heads),
    "mistral, list": ("mistral", mistral_list),
    "qwen": ("qwen3_coder", qwen),
}

# A newline at either end of a value cannot be told from the markup's own, and a text that spells a
# tag, or null where null is allowed, is one.
texts = st.text(max_size=12) | st.sampled_from(
    ["null", "5", "true", '{"a": 1}', "    indented", "a < b > c", "007", "'", '"', "\\n"]
)
values = texts.filter(lambda text: text == text.strip("\n") and "[TOOL_CALLS]" not in text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(values, inner, max_size=3),
    max_leaves=6,
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "text": values,
        "maybe": st.none() | values.filter(lambda text: text.strip() != "null"),
        "count": st.integers(),
        "share": st.floats(-1e9, 1e9).filter(lambda share: not share.is_integer()),
        "sure": st.booleans(),
        "list": st.lists(json_values, max_size=3),
        "map": st.dictionaries(values, json_values, max_size=3),
    },
)
made = st.lists(st.tuples(st.sampled_from(["do-it", "undo_2"]), arguments), min_size=1, max_size=3)


@pytest.mark.parametrize("writer", WRITERS)
@settings(deadline=None)
@given(calls=made, width=st.integers(1, 9))
def test_a_call_comes_back_as_it_was(writer: str, calls: Sequence[Made], width: int) -> None:
    tool_format, write = WRITERS[writer]
    text = f"<think>\nHm.\n</think>\n\nLook:\n{write(calls)}\n"
    chunks = [text[at : at + width] for at in range(0, len(text), width)]
    got = told(split(splitter(tool_format, tools=TOOLS), chunks))
    assert (got.thought, got.words) == ("Hm.", "Look:")
    assert got.calls == tuple(calls)
