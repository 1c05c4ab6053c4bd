import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dialect.coercion import coerce

INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
STRING = {"type": "string"}
OBJECT = {"type": "object", "properties": {"n": INTEGER}}
ARRAY = {"type": "array", "items": INTEGER}
MAYBE_STRING = {"anyOf": [STRING, {"type": "null"}]}
REFERENCE = {"$ref": "#/$defs/Thing"}


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("5", INTEGER, 5),
        (" -5\n", INTEGER, -5),
        ("5.0", INTEGER, 5),
        (5.0, INTEGER, 5),
        ("5.5", INTEGER, "5.5"),
        ("5_000", INTEGER, "5_000"),
        ("٥", INTEGER, "٥"),
        ("007", INTEGER, "007"),
        ("five", INTEGER, "five"),
        ("", INTEGER, ""),
        (True, INTEGER, True),
        ("1" * 5000, INTEGER, "1" * 5000),
        ("5.5", NUMBER, 5.5),
        ("1e3", NUMBER, 1000),
        ("1e999", NUMBER, "1e999"),
        ("NaN", NUMBER, "NaN"),
        (5, NUMBER, 5),
        ("true", BOOLEAN, True),
        ("False", BOOLEAN, False),
        ("yes", BOOLEAN, "yes"),
        ("1", BOOLEAN, "1"),
        ("5", STRING, "5"),
        ("null", STRING, "null"),
        ("true", STRING, "true"),
        (5, STRING, "5"),
        (True, STRING, "true"),
        (None, STRING, None),
        ({"a": "é"}, STRING, '{"a": "é"}'),
        ('{"n": "5"}', OBJECT, {"n": 5}),
        ("{'n': '5'}", OBJECT, {"n": 5}),
        ('["5"]', OBJECT, '["5"]'),
        ("{n: 5}", OBJECT, "{n: 5}"),
        ({"n": "5", "m": "6"}, OBJECT, {"n": 5, "m": "6"}),
        ('["5", 6]', ARRAY, [5, 6]),
        (["5", "x"], ARRAY, [5, "x"]),
        ("[" * 9000, ARRAY, "[" * 9000),
        ("[" + "-" * 9000 + "1]", ARRAY, "[" + "-" * 9000 + "1]"),
        ('{"a": NaN}', {"type": "object"}, '{"a": NaN}'),
        ("null", {"type": ["integer", "null"]}, None),
        ("None", {"type": ["integer", "null"]}, None),
        ("5", {"type": ["integer", "null"]}, 5),
        ("null", {"type": "integer", "nullable": True}, None),
        ("null", MAYBE_STRING, None),
        ("None", MAYBE_STRING, "None"),
        ("5", MAYBE_STRING, "5"),
        ("5", {"type": ["string", "integer"]}, "5"),
        ("5", {"oneOf": [BOOLEAN, INTEGER]}, 5),
        ("5", {"allOf": [{"description": "a count"}, INTEGER]}, 5),
        ({"n": "5"}, {"anyOf": [{"type": "null"}, OBJECT]}, {"n": 5}),
        ({"x": "5"}, {"type": "object", "additionalProperties": INTEGER}, {"x": 5}),
        ("5", {"enum": [5, 6]}, 5),
        ("5", {"enum": ["5", 6]}, "5"),
        ("true", {"const": True}, True),
        ("7", {"enum": ["a", "b"]}, "7"),
        ("5", {}, "5"),
        ("5", True, "5"),
        ("5", None, "5"),
        ("5", "nonsense", "5"),
        ("5", {"type": 5, "anyOf": 3, "enum": 4, "properties": []}, "5"),
        ('{"a": 1}', REFERENCE, '{"a": 1}'),
        ("5", REFERENCE, "5"),
        ("null", {"anyOf": [REFERENCE, {"type": "null"}]}, None),
    ],
)
def test_a_value_gets_the_type_its_schema_asks_for(
    value: object, schema: object, expected: object
) -> None:
    got = coerce(value, schema)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("5", None, 5),
        ("007", None, "007"),
        ("Paris", None, "Paris"),
        ("null", None, None),
        ('{"a": "5"}', None, {"a": "5"}),
        ('{"a": "5"}', REFERENCE, {"a": "5"}),
        ("5", STRING, "5"),
        ("null", STRING, "null"),
        ('{"a": 1}', STRING, '{"a": 1}'),
        ('{"n": "5"}', {"anyOf": [STRING, OBJECT]}, {"n": 5}),
        ("5", {"type": ["string", "integer"]}, "5"),
    ],
)
def test_a_text_from_markup_may_be_anything_its_schema_allows(
    value: str, schema: object, expected: object
) -> None:
    tool = {"type": "object", "properties": {"a": schema} if schema else {}}
    assert coerce({"a": value}, tool, untyped=True) == {"a": expected}


texts = st.text(max_size=8) | st.sampled_from(["5", "true", "null", "[1]", '{"a": "1"}', "5.0"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)
names = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])
schemas = st.recursive(
    st.one_of(
        names.map(lambda name: {"type": name}),
        st.lists(names, max_size=3).map(lambda several: {"type": several}),
        st.just({}),
        values,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"anyOf": members}),
        st.dictionaries(st.sampled_from("ab"), inner).map(
            lambda properties: {"type": "object", "properties": properties}
        ),
        inner.map(lambda items: {"type": "array", "items": items}),
        values.map(lambda value: {"enum": [value]}),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(values, schemas, st.booleans())
def test_no_value_and_no_schema_can_make_it_fail(value: Any, schema: Any, untyped: bool) -> None:
    json.dumps(coerce(value, schema, untyped=untyped), allow_nan=False)


@settings(deadline=None)
@given(values, schemas)
def test_what_fits_is_left_alone(value: Any, schema: Any) -> None:
    once = coerce(value, schema)
    assert json.dumps(coerce(once, schema)) == json.dumps(once)
