"""What an engine and the API in front of it tell each other; the rest goes through the face."""

import time
from collections.abc import Callable, Iterator, Mapping

from engine.assembly import Rooms
from engine.errors import EngineError
from engine.face import LoadOptions
from engine.home.home import Home
from engine.ledger.archive import Archive
from engine.lives.board import Board
from engine.lives.figures import PerformanceView
from engine.lives.model import shutting_down
from engine.text import clean_line
from engine.types import Event, Explanation, Notice

STALL_S = 10.0
"""The upkeep ticks once a second; silent for so long, the engine or its disk hangs."""
_NOTICE = "api"


class FrontDesk:
    """The engine's side of the counter.

    Args:
        rooms: The open engine's rooms; None before it is open.
    """

    def __init__(self, home: Home, board: Board, rooms: Callable[[], Rooms | None]) -> None:
        self._home = home
        self._board = board
        self._rooms = rooms
        self.address = ""
        """Where the API answers, or empty."""

    def opened(self, address: str) -> None:
        """The API answers: others find it by ``engine.json``, the screen by the snapshot."""
        self.address = address
        self._home.publish(address)
        self._board.unnotice(_NOTICE)
        self._board.changed()
        self.note("api_started", f"the API answers at {address}")

    def closed(self) -> None:
        """The API answers no longer."""
        if self.address:
            self.address = ""
            self._home.publish("")
            self._board.changed()

    def down(self, why: str) -> None:
        """The API could not be started: a lasting banner, and an event an operator may be told of
        by ``on_event``."""
        message = clean_line(why)
        self._board.notice(Notice(_NOTICE, message, "error"))
        self.note("api_down", message, level="error")

    def note(
        self,
        kind: str,
        message: str,
        *,
        actor: str = "api",
        level: str = "info",
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Put on record what happened at the API; nothing while there is no event log."""
        if (rooms := self._rooms()) is not None:
            rooms.services.say(kind, message, actor=actor, level=level, data=dict(data or {}))

    def performance(self, model_id: str) -> PerformanceView:
        """What a model has done since the engine started. Raises EngineError: no such model."""
        rooms = self._open()
        return rooms.services.performance.view(rooms.dispatch.find(model_id).id)

    def copies(self, name: str) -> tuple[str, ...]:
        """The ids of the rows a name means, the one that would answer a request first."""
        copies = self._open().services.copies
        if name not in copies:
            return ()
        first = copies.answering(name)
        return (first.id, *(copy.id for copy in copies.of(name) if copy is not first))

    def archive(self) -> Archive:
        """The registry, to be asked and merged with another host's; its methods block."""
        services = self._open().services
        return Archive(services.settings, services.clock, registry=services.registry)

    def history(self, after: int) -> Iterator[Event]:
        """Events with a sequence above ``after`` from the log's files, oldest first; it blocks."""
        return self._open().services.events.history(after)

    async def probe(self, model_id: str, options: LoadOptions) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""
        rooms = self._open()
        return await rooms.gatehouse.probe(rooms.dispatch.find(model_id), options)

    def _open(self) -> Rooms:
        if (rooms := self._rooms()) is None:
            raise EngineError(shutting_down())
        return rooms

    def stalled_s(self) -> float:
        """For how long the engine has done nothing at all, in seconds; 0 while it is well."""
        if (rooms := self._rooms()) is None:
            return 0.0
        silent = time.monotonic() - rooms.upkeep.ticked_at
        return silent if silent > STALL_S else 0.0
