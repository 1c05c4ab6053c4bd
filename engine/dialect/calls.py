"""Tool calls as a parser reads them, and the tools a request offers, which give them their types.

A call to a tool that was not offered is no call: OpenAI's API never returns one, and a client that
looks the name up in its own table would fail on it. Its text is shown instead.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from engine.dialect.coercion import coerce
from engine.dialect.elements import Malformed

_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
"""What a model may choose for an id: Kimi's ``functions.name:0``, Mistral's nine characters."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as written: a name, arguments, and the model's own id if its format has one."""

    name: str
    arguments: Mapping[str, object]
    id: str | None = None
    untyped: bool = False
    """Whether its arguments come from markup, where every value is text."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A call ready for a client; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


def _json_text(value: object) -> str:
    """JSON any client can read: no NaN, and no lone surrogate that UTF-8 cannot carry."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    return text


def _one_call(said: object) -> Call:
    if isinstance(said, Mapping) and isinstance(said.get("function"), Mapping):
        said = {"id": said.get("id"), **said["function"]}
    if not isinstance(said, Mapping) or not isinstance(said.get("name"), str):
        raise Malformed("no name")
    arguments = said.get("arguments", said.get("parameters"))
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Malformed("the arguments are not an object")
    named = said.get("id")
    return Call(said["name"], arguments, named if isinstance(named, str) else None)


def calls_said(said: object) -> tuple[Call, ...]:
    """The calls in what a parser returned: ``name`` and ``arguments``, alone or in a list.

    Raises:
        Malformed: it has another form.
        ValueError: arguments given as text are not JSON.
    """
    found = tuple(map(_one_call, said if isinstance(said, list) else [said]))
    if not found:
        raise Malformed("no call")
    return found


class Toolbox:
    """The tools one request offers, and the ids its answer has given.

    Args:
        tools: In OpenAI's form: ``{"type": "function", "function": {"name", "parameters"}}``.
        new_id: Makes an id for a call whose model chose none, or one already taken.
    """

    def __init__(self, tools: Iterable[Mapping[str, object]], new_id: Callable[[], str]) -> None:
        self._schemas: dict[str, object] = {}
        for tool in tools:
            function = tool.get("function")
            if isinstance(function, Mapping) and isinstance(function.get("name"), str):
                self._schemas[function["name"]] = function.get("parameters")
        self._new_id = new_id
        self._taken: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._schemas)

    def _id(self, chosen: str | None) -> str:
        kept = chosen if chosen and _ID.fullmatch(chosen) and chosen not in self._taken else None
        given = kept or self._new_id()
        self._taken.add(given)
        return given

    def settle(self, calls: Iterable[Call]) -> tuple[Settled, ...]:
        """Type the arguments and name the calls: all of them or none.

        Raises:
            Malformed: one of them names a tool that was not offered.
            ValueError: a value has no JSON text.
        """
        ready: list[tuple[Call, str]] = []
        for call in calls:
            if call.name not in self._schemas:
                raise Malformed(f"no tool {call.name!r} was offered")
            schema = self._schemas[call.name]
            typed = coerce(dict(call.arguments), schema, untyped=call.untyped)
            ready.append((call, _json_text(typed)))
        return tuple(Settled(self._id(call.id), call.name, text) for call, text in ready)
