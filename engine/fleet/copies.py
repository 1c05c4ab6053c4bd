"""The copies of a model: the same content on several hosts, each a row of its own.

The plain id belongs to the copy on the engine's own host, or on the first host that has it; a
further one is ``id@HOST``. The plain id also means all of them together.
"""

from collections.abc import Callable, Iterable

from engine.catalog.entry import CatalogEntry
from engine.lives.board import Board
from engine.lives.model import Model
from engine.readiness import LIVE
from engine.types import HostState, Readiness


class Copies:
    """Which rows are copies of one model.

    Args:
        state: How a host is, by name.
    """

    def __init__(self, board: Board, state: Callable[[str], HostState]) -> None:
        self._board = board
        self._state = state
        self._families: dict[str, list[Model]] = {}
        self._holders: dict[str, str] = {}

    def id_for(self, entry: CatalogEntry, host: str) -> tuple[str, str]:
        """The id of a host's model, and the family it belongs to.

        Models of one name are copies when header and size say so; others only share the name.
        """
        plain = entry.id
        there = self._board.models.get(f"{plain}@{host}")
        if there is not None and there.place.host == host:
            return there.id, there.family
        first = next(iter(self._families.get(plain, ())), None)
        holder = self._holders.get(plain)
        if holder is None or holder == host:
            self._holders[plain] = host
            return plain, plain
        model_id = f"{plain}@{host}"
        return model_id, plain if first is None or _alike(first.entry, entry) else model_id

    def add(self, model: Model) -> None:
        """A row was put on the board."""
        self._families.setdefault(model.family, []).append(model)
        self._families[model.family].sort(key=lambda copy: (copy.id != copy.family, copy.id))

    def remove(self, model: Model) -> None:
        """A row was taken off the board."""
        family = self._families[model.family]
        family.remove(model)
        if not family:
            del self._families[model.family]
        if self._holders.get(model.id) == model.place.host:
            del self._holders[model.id]

    def of(self, name: str) -> tuple[Model, ...]:
        """The copies a name means: all of a family, or the one row that bears this id."""
        if (family := self._families.get(name)) is not None:
            return tuple(family)
        model = self._board.models.get(name)
        return (model,) if model is not None else ()

    def __contains__(self, name: str) -> bool:
        return name in self._families or name in self._board.models

    def named(self, last: str) -> tuple[str, ...]:
        """The families whose last part this is, and of which a copy is routable."""
        return tuple(
            family
            for family, copies in self._families.items()
            if family.rpartition("/")[2] == last and any(map(routable, copies))
        )

    def answering(self, name: str) -> Model:
        """The copy a request for this name goes to: the least loaded routable one, else the one
        that is furthest on its way. Raises KeyError: there is none of this name."""
        copies = self.of(name)
        if len(copies) == 1:
            return copies[0]
        serving = [copy for copy in copies if routable(copy)]
        if serving:
            # Copies of another content than the first one's only look alike.
            same = [c for c in serving if c.fingerprint == serving[0].fingerprint]
            return min(same, key=lambda copy: (self._shaky(copy), copy.view.requests))
        if not copies:
            raise KeyError(name)
        return max(copies, key=lambda copy: (copy.readiness in LIVE, copy.view.version))

    def _shaky(self, copy: Model) -> bool:
        return self._state(copy.place.host) is not HostState.OK


def routable(copy: Model) -> bool:
    """Whether it takes requests."""
    return copy.readiness is Readiness.ROUTABLE and not copy.view.draining


def _alike(one: CatalogEntry, other: CatalogEntry) -> bool:
    def looks(entry: CatalogEntry) -> tuple[object, ...]:
        return entry.backend, entry.weight_bytes, entry.architecture, entry.quantisation

    return looks(one) == looks(other)


def live(copies: Iterable[Model]) -> tuple[Model, ...]:
    """Those that are on their way or serve."""
    return tuple(c for c in copies if c.readiness in LIVE and not c.view.draining)
