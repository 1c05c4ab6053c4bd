"""A chat template renders as its author meant, and can do nothing else."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.backends.base import RequestError
from engine.backends.template import ChatTemplate
from engine.workers.protocol import Message, ToolCall

CHAT = (Message(role="user", content="hi"),)


def render(source: str, *, opening: bool = True) -> str:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    template = ChatTemplate(source, bos="<s>", eos="</s>", now=lambda: moment)
    return template.render(CHAT, opening=opening)


def test_it_renders_what_templates_use() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}\n"
        "    {%- if m.role == 'system' %}{% continue %}{% endif %}\n"
        "    {{- '[' + m['role'] + '] ' + m.content + eos_token }}\n"
        "{%- endfor %}\n"
        "{%- if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert render(source) == "<s>[user] hi</s>[assistant]"
    assert render(source, opening=False) == "<s>[user] hi</s>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ messages | tojson }}", '[{"role": "user", "content": "hi"}]'),
        ("{{ '<é>' | tojson }}", '"<é>"'),
        ("{{ strftime_now('%d %b %Y') }}", "01 Mar 2026"),
        ("{% generation %}kept{% endgeneration %}", "kept"),
        ("{% if tools %}tools{% else %}none{% endif %}", "none"),
        ("  {% if true %}\nx\n  {% endif %}\n", "x\n"),
        ("{{ undefined_name }}", ""),
    ],
)
def test_it_gives_templates_what_they_expect(source: str, expected: str) -> None:
    assert render(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{ ''.__class__.__mro__[1].__subclasses__() }}", id="subclasses"),
        pytest.param("{{ cycler.__init__.__globals__.os.popen('id').read() }}", id="globals"),
        pytest.param("{{ raise_exception.__globals__['os'] }}", id="function globals"),
        pytest.param("{{ strftime_now.__closure__ }}", id="closure"),
        pytest.param("{{ messages.append(1) }}", id="mutation"),
        pytest.param("{{ '{0.__class__}'.format(messages) }}", id="format"),
        pytest.param("{{ ''|attr('__class__') }}{{ (''|attr('__class__')).x }}", id="attr filter"),
        pytest.param("{% for i in range(10**9) %}x{% endfor %}", id="power and range"),
        pytest.param("{% for i in range(999999999) %}x{% endfor %}", id="range"),
        pytest.param("{{ 'x' * 999999999 }}", id="multiplied text"),
        pytest.param("{{ 999999999 * [1] }}", id="multiplied list"),
        pytest.param("{% include '/etc/passwd' %}", id="include"),
        pytest.param("{% import 'os' as os %}", id="import"),
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    with contextlib.suppress(RequestError):
        # An attribute the sandbox hides may also be undefined, and render as nothing.
        assert render(source) == ""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{% nonsense %}", "nonsense"),
        ("{{ messages[5].content }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_whatever_goes_wrong_is_the_templates_fault(source: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        render(source)
    assert refused.value.kind == "template"


def test_a_flood_is_stopped() -> None:
    block = "{% for i in range(99999) %}" + "x" * 999 + "{% endfor %}"
    with pytest.raises(RequestError, match="renders more than"):
        render(block)


def write(source: str, *messages: Message, **given: Any) -> str:
    return ChatTemplate(source, bos="<s>", eos="</s>").render(messages or CHAT, **given)


CALLED = Message(
    role="assistant",
    content="",
    reasoning="hm",
    tool_calls=(
        ToolCall(id="c1", name="add", arguments='{"a": 1, "b": [2]}'),
        ToolCall(id="c2", name="odd", arguments="not {json"),
        ToolCall(id="c3", name="flat", arguments="[1]"),
    ),
)


def test_earlier_calls_come_as_templates_expect_them() -> None:
    source = (
        "{% for m in messages %}{% for c in m.tool_calls %}"
        "{{ c.id }} {{ c.type }} {{ c.function.name }}"
        "{% if c.function.arguments is mapping %}"
        "{% for k, v in c.function.arguments | items %} {{ k }}={{ v }}{% endfor %}"
        "{% else %} {{ c.function.arguments }}{% endif %};"
        "{% endfor %}{{ m.reasoning_content }}{% endfor %}"
    )
    expected = "c1 function add a=1 b=[2];c2 function odd not {json;c3 function flat [1];hm"
    assert write(source, CALLED) == expected
    answered = Message(role="tool", content="3", tool_call_id="c1", name="add")
    assert write("{{ messages[0].tool_call_id }} {{ messages[0].name }}", answered) == "c1 add"


def test_what_a_message_lacks_is_undefined_and_not_none() -> None:
    names = ("tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning")
    source = "".join(f"{{{{ messages[0].{name} is defined }}}} " for name in names)
    assert write(source) == "False " * len(names)


def test_tools_and_options_reach_the_template() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    assert write("{{ tools[0].function.name }}", tools=(tool,)) == "add"
    assert write("{{ tools is none }}") == "True"
    assert write("{{ enable_thinking is defined }}") == "False"
    assert write("{{ enable_thinking }}", options={"enable_thinking": False}) == "False"


def test_an_option_takes_the_place_of_nothing() -> None:
    taken = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
    options = dict.fromkeys((*taken, "self"), "mine")
    source = "{{ messages[0].content }} {{ tools }} {{ add_generation_prompt }} {{ bos_token }}"
    assert write(source + "{{ eos_token }}", options=options) == "hi None True <s></s>"


def test_arguments_nested_beyond_reason_stay_text() -> None:
    deep = '{"a":' * 100_000
    called = CALLED.model_copy(update={"tool_calls": (ToolCall(id="c", name="f", arguments=deep),)})
    assert write("{{ messages[0].tool_calls[0].function.arguments }}", called) == deep
