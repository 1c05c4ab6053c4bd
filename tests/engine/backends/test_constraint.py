"""A schema bounds what may be drawn, and one that is hostile costs neither worker nor patience."""

import json
import sys
from typing import Any

import pytest

from engine.backends.base import RequestError
from engine.backends.constraint import Constraint, Grammars

BYTES = [bytes([byte]) for byte in range(256)]
END = 256


class _Vocabulary:
    """A token for every byte, one that ends a text and one that ends a thinking."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*BYTES, b"<end>", b"</think>")
    special_token_ids = (END, END + 1)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def _tokenizer() -> Any:
    from llguidance import LLTokenizer
    from llguidance import TokenizerWrapper as Wrapper

    return LLTokenizer(Wrapper(_Vocabulary()))


GRAMMARS = Grammars(_tokenizer)
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)


def constrained(schema: str, **given: Any) -> Constraint:
    made = GRAMMARS.constrain(schema, **given)
    assert made is not None
    return made


def taken(constraint: Constraint, text: str) -> str:
    """As much of a text as the grammar lets through, one byte at a time."""
    for at, byte in enumerate(text.encode()):
        allowed = constraint.allowed(258)
        if constraint.complete or (allowed is not None and not allowed[byte]):
            return text[:at]
        constraint.take(byte)
    return text


@pytest.mark.parametrize(
    ("schema", "text", "through"),
    [
        (PERSON, '{"name": "A", "age": 3}', '{"name": "A", "age": 3}'),
        (PERSON, '{"name": "A"}', '{"name": "A"'),
        (PERSON, '{"name": 1', '{"name": '),
        (PERSON, '{\n  "name": "A",\n  "age": 3\n}', '{\n  "name": "A",\n  "age": 3\n}'),
        (PERSON, '{"name":   "A"', '{"name": '),
        (PERSON, '{"name": "A", "age": 3} and', '{"name": "A", "age": 3}'),
        ("{}", '[1, {"a": null}]', '[1, {"a": null}]'),
        ("true", '"text"', '"text"'),
        ('{"type": "object"}', "[1]", ""),
    ],
)
def test_it_lets_through_what_the_schema_does(schema: str, text: str, through: str) -> None:
    assert taken(constrained(schema), text) == through


def test_it_is_complete_where_nothing_can_follow() -> None:
    constraint = constrained(PERSON)
    taken(constraint, '{"name": "A", "age": 3')
    before = constraint.complete
    constraint.take(ord("}"))
    assert (before, constraint.complete) == (False, True)
    assert not constraint.trouble
    assert constraint.allowed(258) is None


def test_a_number_may_end_or_go_on() -> None:
    constraint = constrained('{"type": "integer"}')
    constraint.take(ord("4"))
    allowed = constraint.allowed(300)
    assert allowed is not None
    assert allowed[ord("2")]
    assert allowed[END]
    assert not allowed[258:].any()  # a model's logits may be padded beyond the vocabulary
    assert not constraint.complete


def test_it_waits_for_the_end_of_a_thinking() -> None:
    constraint = constrained(PERSON, after="</think>")
    assert taken(constraint, "Well, {1}. </thi") == "Well, {1}. </thi"
    assert constraint.allowed(258) is None
    taken(constraint, "nk>")
    assert taken(constraint, 'No {"name"') == ""
    assert taken(constraint, '{"name"') == '{"name"'
    by_token = constrained(PERSON, after="</think>")
    by_token.take(END + 1)
    assert by_token.allowed(258) is not None


HOSTILE = {
    "no json": "nonsense",
    "a list": "[]",
    "a number": "1",
    "not a number": "NaN",
    "unknown type": '{"type": "nope"}',
    "unsupported": '{"not": {"type": "string"}}',
    "unsupported, asked to pass": '{"x-guidance": {"lenient": true}, "not": {"type": "string"}}',
    "unsatisfiable": '{"type": "array", "minItems": 3, "maxItems": 2}',
    "false": "false",
    "itself": '{"$ref": "#"}',
    "a file": '{"$ref": "file:///etc/passwd"}',
    "another host": '{"$ref": "http://127.0.0.1:1/schema"}',
    "deep": '{"items":' * 5000 + "{}" + "}" * 5000,
    "long": json.dumps({"enum": [f"value {n}" for n in range(10_000)]}),
    "remainders": '{"type": "integer", "multipleOf": 99999999}',
    "remainders together": '{"allOf": [{"multipleOf": 997}, {"multipleOf": 991}]}',
    "remainders of a fraction": '{"type": "number", "multipleOf": 0.99999999}',
    "half a character": '{"const": "\\ud800"}',
    "look-around": '{"type": "string", "pattern": "(?=a)b"}',
    "nested pattern": json.dumps({"type": "string", "pattern": "(" * 5000 + ")" * 5000}),
    "a breakout": '{}\nstart: "x"',
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=list(HOSTILE))
def test_what_cannot_be_held_is_refused(schema: str) -> None:
    with pytest.raises(RequestError, match=r"^json_schema: .") as refused:
        GRAMMARS.constrain(schema)
    assert refused.value.kind == "invalid"
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
        {"type": "string", "minLength": 100_000_000},
        {"type": "array", "minItems": 100_000_000},
        {"type": "number", "multipleOf": 0.01},
        {"properties": {"multipleOf": {"type": "integer"}}},
        {"type": "object", "properties": {f"p{n}": {} for n in range(1500)}},
        {"type": "string", "allOf": [{"pattern": f"^(.{{{p}}})*$"} for p in (7, 11, 13, 17)]},
    ],
)
def test_what_is_only_large_is_held_or_given_up_with_a_reason(schema: dict[str, Any]) -> None:
    constraint = constrained(json.dumps(schema))
    for _ in range(50):
        allowed = constraint.allowed(258)
        if constraint.complete or allowed is None:
            break
        constraint.take(int(allowed[:256].argmax()))
    assert constraint.trouble == "" or constraint.trouble.startswith("json_schema: ")


def test_no_schema_is_no_constraint() -> None:
    assert GRAMMARS.constrain(None) is None


def test_a_runtime_without_llguidance_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(RequestError, match="json_schema: this runtime lacks llguidance"):
        GRAMMARS.constrain("{}")
