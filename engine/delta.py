"""A snapshot on its way to another process: whole once, then only what changed of it.

What a field may hold is read from the views themselves, so there is no second schema: a field
added to a view travels by itself. What did not change stays the same object on the other side,
so whoever compares snapshots there finds differences as cheaply as beside the engine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from engine.types import (
    ClientView,
    EngineSnapshot,
    HostView,
    ModelView,
    QuarantineView,
    RequestView,
)

PROTOCOL = 2
"""What a console and an engine must agree on. It rises when a console of the number before could
not read, or would misread, what an engine of this one tells it."""

KEYED: dict[str, tuple[str, type]] = {
    "models": ("id", ModelView),
    "requests": ("id", RequestView),
    "quarantine": ("model_id", QuarantineView),
    "clients": ("name", ClientView),
    "hosts": ("name", HostView),
}
"""Fields whose rows have names: only rows that changed are told, and of those only what did."""
SLIDING = frozenset({"events", "registry"})
"""Fields that grow at one end and are cut at the other."""
_NUMBERS = frozenset({"version", "taken_at"})

Wire = dict[str, Any]


class Gap(Exception):
    """A change does not lead on from what is known here: the whole is needed again."""


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Writes and reads values of a type."""
    return TypeAdapter(kind)


@cache
def _adapters(kind: type) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind)
    return {field.name: adapter_of(hints[field.name]) for field in fields(kind)}


def whole(snapshot: EngineSnapshot) -> Wire:
    """All of it, ready for JSON."""
    told: Wire = adapter_of(EngineSnapshot).dump_python(snapshot, mode="json")
    return told


def read_whole(told: object) -> EngineSnapshot:
    """What :func:`whole` wrote. Raises Gap: it is nothing of the kind."""
    try:
        snapshot: EngineSnapshot = adapter_of(EngineSnapshot).validate_python(told)
    except ValidationError as error:
        raise Gap(f"this is no snapshot: {error.errors()[0]['msg']}") from error
    return snapshot


def change(old: EngineSnapshot, new: EngineSnapshot) -> Wire:
    """What leads from one snapshot to the other, ready for JSON."""
    told: Wire = {"from": old.version, "version": new.version, "taken_at": new.taken_at}
    for field in fields(EngineSnapshot):
        name = field.name
        before, after = getattr(old, name), getattr(new, name)
        if name in _NUMBERS or before is after or before == after:
            continue
        if name in KEYED:
            part, what = _rows(name, before, after), "rows"
        elif name in SLIDING:
            part, what = _slid(name, before, after), "slid"
        else:
            part, what = None, "set"
        if part is None:
            part, what = _adapters(EngineSnapshot)[name].dump_python(after, mode="json"), "set"
        told.setdefault(what, {})[name] = part
    return told


def _rows(name: str, before: Sequence[Any], after: Sequence[Any]) -> Wire | None:
    """The rows that differ; None where their names tell them not apart."""
    key, kind = KEYED[name]
    known = {getattr(row, key): row for row in before}
    order = [getattr(row, key) for row in after]
    if len(set(order)) != len(order):
        return None
    told: Wire = {}
    if order != [getattr(row, key) for row in before]:
        told["order"] = order
    for row in after:
        old = known.get(getattr(row, key))
        if old is None:
            told.setdefault("new", []).append(adapter_of(kind).dump_python(row, mode="json"))
        elif old is not row and (parts := _parts(old, row)):
            told.setdefault("parts", {})[getattr(row, key)] = parts
    return told


def _parts(old: Any, new: Any) -> Wire:
    told: Wire = {}
    for name, adapter in _adapters(new.__class__).items():
        before, after = getattr(old, name), getattr(new, name)
        if before is not after and before != after:
            told[name] = adapter.dump_python(after, mode="json")
    return told


def _slid(name: str, before: tuple[Any, ...], after: tuple[Any, ...]) -> Wire | None:
    """What came in front or behind and which stretch stayed; None where they share none."""
    if not before or not after:
        return None
    dump: Callable[..., Any] = _adapters(EngineSnapshot)[name].dump_python
    if after[0] in before:
        start = before.index(after[0])
        stayed = len(before) - start
        if before[start:] == after[:stayed]:
            return {"keep": [start, len(before)], "back": dump(after[stayed:], mode="json")}
    if before[0] in after:
        ahead = after.index(before[0])
        stayed = len(after) - ahead
        if after[ahead:] == before[:stayed]:
            return {"keep": [0, stayed], "front": dump(after[:ahead], mode="json")}
    return None


def changed(old: EngineSnapshot, told: object) -> EngineSnapshot:
    """The snapshot a change leads to.

    Args:
        old: What is known here.
        told: What :func:`change` wrote.

    Raises:
        Gap: it starts from another version, or is nothing of the kind.
    """
    try:
        return _changed(old, told)
    except (ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Gap(f"this is no change of a snapshot: {type(error).__name__}") from error


def _changed(old: EngineSnapshot, told: Any) -> EngineSnapshot:
    if told["from"] != old.version:
        raise Gap(f"a change from version {told['from']}, and {old.version} is known here")
    news: dict[str, Any] = {"version": int(told["version"]), "taken_at": float(told["taken_at"])}
    adapters = _adapters(EngineSnapshot)
    for name, value in told.get("set", {}).items():
        if name in adapters:  # a newer engine may tell more than is known here
            news[name] = adapters[name].validate_python(value)
    for name, part in told.get("rows", {}).items():
        news[name] = _with_rows(name, getattr(old, name), part)
    for name, part in told.get("slid", {}).items():
        first, last = part["keep"]
        read = adapters[name].validate_python
        ahead, behind = read(part.get("front", ())), read(part.get("back", ()))
        news[name] = (*ahead, *getattr(old, name)[first:last], *behind)
    return replace(old, **news)


def _with_rows(name: str, before: Sequence[Any], part: Wire) -> tuple[Any, ...]:
    key, kind = KEYED[name]
    rows = {getattr(row, key): row for row in before}
    for value in part.get("new", ()):
        row = adapter_of(kind).validate_python(value)
        rows[getattr(row, key)] = row
    adapters = _adapters(kind)
    for row_id, values in part.get("parts", {}).items():
        read = {n: adapters[n].validate_python(v) for n, v in values.items() if n in adapters}
        rows[row_id] = replace(rows[row_id], **read)
    return tuple(rows[row_id] for row_id in part.get("order", [getattr(r, key) for r in before]))
