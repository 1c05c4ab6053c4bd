"""A chat template renders as its author meant, and can do nothing else."""

import contextlib
from datetime import UTC, datetime

import pytest

from engine.backends.base import RequestError
from engine.backends.template import ChatTemplate
from engine.workers.protocol import Message

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
