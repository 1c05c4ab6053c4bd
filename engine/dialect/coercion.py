"""Gives the arguments of a call the types the tool's JSON schema asks for.

A model writes ``"5"`` where an integer belongs, and most markup has no types at all. Only a change
that loses nothing is made, and what fits nothing stays as it is: whether a value is acceptable is
for the tool to say. ``$ref`` is not followed: behind one, any type is possible.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_DEPTH = 32
"""Levels of values and of nested alternatives looked at; deeper ones stay as they are."""
_MEMBERS = 64
"""Alternatives of one schema looked at."""
_PYTHON = 16 * 1024
"""Characters of Python's notation read; its parser takes its time."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,308})(?:\.\d{1,308})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_NOTHING = object()


def _alternatives(schema: object, depth: int = _DEPTH) -> Iterator[Mapping[str, Any]]:
    """A schema and everything its ``anyOf``, ``oneOf`` and ``allOf`` hold."""
    if not isinstance(schema, Mapping) or depth == 0:
        return
    yield schema
    for word in ("anyOf", "oneOf", "allOf"):
        members = schema.get(word)
        if isinstance(members, list | tuple):
            for member in members:
                yield from _alternatives(member, depth - 1)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def _types(schema: Mapping[str, Any]) -> set[str]:
    """The types one schema names by itself, by ``type``, ``nullable``, ``enum`` or ``const``."""
    named = schema.get("type")
    types = {named} if isinstance(named, str) else set()
    if isinstance(named, list | tuple):
        types |= {name for name in named if isinstance(name, str)}
    if not types and isinstance(schema.get("enum"), list | tuple):
        types |= {_kind(value) for value in schema["enum"]}
    if not types and "const" in schema:
        types.add(_kind(schema["const"]))
    if schema.get("nullable") is True:
        types.add("null")
    return types


def _number(text: str, *, whole: bool) -> object:
    if _NUMBER.fullmatch(text) is None:
        return _NOTHING
    value = json.loads(text)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, float) and (whole or value in (float("inf"), float("-inf"))):
        return _NOTHING
    return value


def _container(text: str, types: set[str]) -> object:
    """An object or array from JSON text, or from Python's way of writing it."""
    wanted = dict if text.startswith("{") else list
    if not text.startswith(("{", "[")) or _kind(wanted()) not in types:
        return _NOTHING
    for read in (json.loads, ast.literal_eval) if len(text) <= _PYTHON else (json.loads,):
        try:
            value = read(text)
            json.dumps(value, allow_nan=False)
        except Exception:  # noqa: S112 - hostile text fails in many ways, and stays text in all
            continue
        if isinstance(value, wanted):
            return value
    return _NOTHING


def _from_text(text: str, types: set[str], *, untyped: bool) -> object:
    """What a text says in one of these types."""
    bare = text.strip()
    if "null" in types and bare == "null":
        return None
    if "string" in types:
        # A model that could have written an object and wrote a text meant the text.
        return _container(bare, types) if untyped else _NOTHING
    for value in (
        _number(bare, whole=True) if "integer" in types else _NOTHING,
        _number(bare, whole=False) if "number" in types else _NOTHING,
        _BOOLEANS.get(bare.lower(), _NOTHING) if "boolean" in types else _NOTHING,
        _container(bare, types),
    ):
        if value is not _NOTHING:
            return value
    return None if "null" in types and bare == "None" else _NOTHING


def _guess(text: str) -> object:
    """An untyped text nobody declared: read as JSON where it is JSON."""
    bare = text.strip()
    every = {"null", "integer", "number", "boolean", "object", "array"}
    value = _from_text(bare, every, untyped=True)
    return text if value is _NOTHING else value


def _as_text(value: object) -> object:
    return value if value is None else json.dumps(value, ensure_ascii=False)


def _in_enum(text: str, choices: list[object]) -> object:
    for choice in choices:
        if not isinstance(choice, str) and json.dumps(choice) == text.strip():
            return choice
    return _NOTHING


def _choices(schemas: list[Mapping[str, Any]]) -> list[object]:
    found: list[object] = []
    for schema in schemas:
        if isinstance(schema.get("enum"), list | tuple):
            found.extend(schema["enum"])
        if "const" in schema:
            found.append(schema["const"])
    return found


def coerce(value: object, schema: object, *, untyped: bool = False, depth: int = _DEPTH) -> object:
    """A value as the schema wants it.

    Args:
        schema: A JSON schema; anything else asks for nothing.
        untyped: Whether the text comes from markup, where every value is text. Then a text of no
            declared type is read as JSON if it is JSON.

    Returns:
        The value in a type the schema names, or the value itself.
    """
    if depth == 0:
        return value
    schemas = list(islice(_alternatives(schema), _MEMBERS))
    types = set().union(*map(_types, schemas)) if schemas else set()
    within = untyped
    if isinstance(value, str):
        within = False  # what a text unfolds into is JSON, and that has types
        choices = _choices(schemas)
        if value in choices:
            return value
        found = _in_enum(value, choices)
        if found is not _NOTHING:
            return found
        open_ended = not types or any("$ref" in member for member in schemas)
        if untyped and open_ended:
            value = _guess(value)
        else:
            found = _from_text(value, types, untyped=untyped)
            value = value if found is _NOTHING else found
    elif types == {"string"}:
        return _as_text(value)
    elif isinstance(value, float) and value.is_integer() and types & {"integer", "number"}:
        return int(value) if "integer" in types and "number" not in types else value
    if isinstance(value, dict):
        return _coerce_object(value, schemas, untyped=within, depth=depth)
    if isinstance(value, list):
        inner = [member["items"] for member in schemas if "items" in member]
        return [coerce(item, inner[0], depth=depth - 1) for item in value] if inner else value
    return value


def _coerce_object(
    value: dict[str, object], schemas: list[Mapping[str, Any]], *, untyped: bool, depth: int
) -> dict[str, object]:
    declared = [m["properties"] for m in schemas if isinstance(m.get("properties"), Mapping)]
    others = next((m["additionalProperties"] for m in schemas if "additionalProperties" in m), None)
    return {
        key: coerce(
            item,
            next((properties[key] for properties in declared if key in properties), others),
            untyped=untyped,
            depth=depth - 1,
        )
        for key, item in value.items()
    }
