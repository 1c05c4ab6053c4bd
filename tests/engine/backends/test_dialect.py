"""A model's files show how it writes, and a prompt shows whether the answer begins in thought."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from engine.backends.base import RequestError
from engine.backends.dialect import Dialect, Prompt, thinking, tool_format
from engine.backends.template import ChatTemplate
from engine.workers.protocol import Generate, Message

TEMPLATES = (
    None,
    "{{ messages }}",
    "<minimax:tool_call> and <tool_call> {{ tool_call.name }}",
    "<|tool_call>{{ x }}<tool_call|>",
    "<|tool_call> alone",
    "<start_function_call>call",
    "<longcat_tool_call>",
    "<tool_call>{{ n }}<arg_key>{{ k }}</arg_key>",
    "<|tool_list_start|>[]",
    "<|tool_call_start|>[f()]",
    "{{ '<tool_call>\\n<function=' + name }}",
    "<tool_call>\n<function={{ name }}>",
    "<|tool_calls_section_begin|>",
    '<function name="{{ n }}"><param name="{{ p }}">',
    '<function name="{{ n }}">',
    "[TOOL_CALLS][{{ c }}]",
    "<atem:function_calls>",
    "<tool_call>{{ tool_call.name }}",
    "<tool_call>{{ call.name }}",
    "[TOOL_CALLS]<tool_call>{{ tool_call.name }}<arg_key>",
)
VOCABULARIES: tuple[tuple[str, ...], ...] = (
    (),
    ("<think>", "</think>"),
    ("<think>",),
    ("<longcat_think>", "</longcat_think>", "<|tool_call_start|>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|channel>", "<channel|>"),
    ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"),
    ("<|open|>", "<|close|>", "<|sep|>"),
    ("<|tool_call_start|>", "<|tool_call_end|>", "<think>", "</think>"),
)


class _Tokenizer:
    def __init__(self, template: str | None, vocabulary: Sequence[str]) -> None:
        self.chat_template = template
        self._vocabulary = {text: at for at, text in enumerate(vocabulary)}

    def get_vocab(self) -> Mapping[str, int]:
        return self._vocabulary

    def encode(self, text: str, **_: Any) -> list[int]:
        return [0]


@pytest.mark.real
def test_it_decides_as_mlx_lm_does() -> None:
    from engine.backends.mlx_runtime import import_mlx

    import_mlx()
    from mlx_lm import tokenizer_utils

    found = set()
    for template, vocabulary in product(TEMPLATES, VOCABULARIES):
        tokenizer = _Tokenizer(template, vocabulary)
        theirs = tokenizer_utils._infer_tool_parser(tokenizer)
        ours = tool_format(template, vocabulary.__contains__)
        assert ours == (theirs or ""), (template, vocabulary)
        found.add(ours)
        first, last, *_ = tokenizer_utils._infer_thinking(tokenizer)
        assert thinking(template, vocabulary.__contains__) == (first and (first, last))
    assert len(found) == 14  # every name, and none


def test_a_template_tells_of_thinking_that_has_no_tokens() -> None:
    nothing = frozenset[str]().__contains__
    assert thinking("{{ '<think>' }}{{ '</think>' }}", nothing) == ("<think>", "</think>")
    assert thinking("{{ '<think>' }}", nothing) is None


TURNS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if think %}<think>\n{% endif %}{% endif %}"
)
DIALECT = Dialect(render=ChatTemplate(TURNS).render, thinking=("<think>", "</think>"))


@pytest.mark.parametrize(
    ("said", "opening", "think", "inside"),
    [
        ("hi", "", False, False),
        ("hi", "", True, True),
        ("hi", "", None, False),
        ("hi", "<think>let me", False, True),
        ("hi", "done.</think>Well", True, False),
        ("what does <think> do?", "", False, False),
        ("what does <think> do?", "", True, True),
        ("what does </think> do?", "", True, True),
        ("think", "", True, True),
    ],
)
def test_a_prompt_that_opens_the_thinking_is_told_from_one_that_speaks_of_it(
    said: str, opening: str, think: bool | None, inside: bool
) -> None:
    request = Generate(
        id="r",
        messages=(Message(role="user", content=said),),
        opening=opening,
        template_options={} if think is None else {"think": think},
    )
    prompt = DIALECT.prompt(request)
    assert prompt.thinking is inside
    assert prompt.text.endswith(opening)


def test_an_answer_whose_words_are_given_does_not_think_first() -> None:
    request = Generate(
        id="r",
        messages=(Message(role="user", content="hi"),),
        template_options={"think": True},
        opening="<call>",
    )
    prompt = DIALECT.prompt(request)
    assert not prompt.thinking
    assert prompt.text.endswith("<think>\n</think>\n\n<call>")


def test_a_plain_prompt_needs_no_template_and_a_chat_does() -> None:
    plain = Generate(id="r", prompt="Once upon", opening=" a")
    assert Dialect().prompt(plain) == Prompt("Once upon a")
    with pytest.raises(RequestError) as refused:
        Dialect().prompt(Generate(id="r", messages=(Message(role="user", content="hi"),)))
    assert refused.value.kind == "template"
    with pytest.raises(RequestError) as refused:
        DIALECT.prompt(Generate(id="r"))
    assert refused.value.kind == "invalid"
