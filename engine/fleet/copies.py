"""The copies of a model: the same content on several hosts, each a row of its own.

The plain id belongs to the copy on the engine's own host, whichever host joins first; every other
one is ``id@HOST``. The plain id also means all of them together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from engine.catalog.entry import CatalogEntry
from engine.lives.board import Board
from engine.lives.model import Model
from engine.machine import Place
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
        self._called: dict[str, list[Model]] = defaultdict(list)
        self._families: dict[str, tuple[Model, ...]] = {}

    def id_for(self, plain: str, place: Place) -> str:
        """The id of a host's model that is called ``plain`` there."""
        model_id = f"{plain}@{place.host}" if place.away else plain
        # A folder may be called what another host's copy of a model is.
        while (row := self._board.models.get(model_id)) and row.place.host != place.host:
            model_id += f"@{place.host}"
        return model_id

    def add(self, model: Model) -> None:
        """A row was put on the board."""
        self._called[model.entry.plain].append(model)
        self.regroup(model.entry.plain)

    def remove(self, model: Model) -> None:
        """A row was taken off the board."""
        self._called[model.entry.plain].remove(model)
        self.regroup(model.entry.plain)

    def regroup(self, plain: str) -> None:
        """Say which of the models called so are copies of one: header and size must be alike.

        The measure is the one on the engine's own host; without it what serves under the name
        already, else the first host's by name, so that the order of joining makes no difference.
        A model of another content stands for itself.
        """
        if not (rows := self._called[plain]):
            del self._called[plain]
            self._families.pop(plain, None)
            return

        def foremost(row: Model) -> tuple[bool, bool, str]:
            serves = row.family == plain and row.readiness in LIVE
            return row.place.away, not serves, row.id

        measure = min(rows, key=foremost)
        for row in rows:
            family = plain if alike(row.entry, measure.entry) else row.id
            if row.family != family:  # making a view costs more than the look
                row.change(family=family)
        copies = [row for row in rows if row.family == plain]
        self._families[plain] = tuple(sorted(copies, key=lambda row: (row.place.away, row.id)))

    def of(self, name: str) -> tuple[Model, ...]:
        """The copies a name means: all of a family, the row that bears this id, or the copy on the
        engine's own host where that is named as the others are."""
        family, model = self._families.get(name, ()), self._board.models.get(name)
        if model is not None and model not in family:  # see id_for: the row of an id comes first
            return (model,)
        if family:
            return family
        plain, _, host = name.rpartition("@")
        return tuple(row for row in self._called.get(plain, ()) if row.place.host == host)

    def __contains__(self, name: str) -> bool:
        return bool(self.of(name))

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
        return max(copies, key=_how_far)

    def _shaky(self, copy: Model) -> bool:
        return self._state(copy.place.host) is not HostState.OK


def _how_far(copy: Model) -> tuple[bool, bool, int]:
    quarantined = copy.readiness is Readiness.QUARANTINED
    return copy.readiness in LIVE, not quarantined, copy.view.version


def routable(copy: Model) -> bool:
    """Whether it takes requests."""
    return copy.readiness is Readiness.ROUTABLE and not copy.view.draining


def alike(one: CatalogEntry, other: CatalogEntry) -> bool:
    """Whether header and size say that two models are the same."""

    def looks(entry: CatalogEntry) -> tuple[object, ...]:
        return entry.backend, entry.weight_bytes, entry.architecture, entry.quantisation

    return looks(one) == looks(other)


def live(copies: Iterable[Model]) -> tuple[Model, ...]:
    """Those that are on their way or serve."""
    return tuple(c for c in copies if c.readiness in LIVE and not c.view.draining)
