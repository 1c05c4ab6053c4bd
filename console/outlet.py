"""The API in front of this process's engine: opened once the engine has started, closed with it."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from console.line import plain_error
from engine import ApiFace, ApiTrouble, Settings, parse_address

if TYPE_CHECKING:
    from engine import ApiServer


class Outlet(Protocol):
    """Something an engine is reached through from outside."""

    async def open(self) -> ApiTrouble | None:
        """Answer from now on; what is in the way is returned, and a lasting notice."""
        ...

    async def close(self, drain_s: float = ...) -> None:
        """Answer no longer."""
        ...

    def note(self, kind: str, message: str, actor: str) -> None:
        """Put an event on the engine's record."""
        ...


class ApiOutlet:
    """The API of one engine.

    Args:
        address: ``HOST:PORT``.
        readonly: Nothing may be changed through it.
        version: What it calls this program.
    """

    def __init__(
        self, engine: ApiFace, settings: Settings, address: str, *, readonly: bool, version: str
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._address = parse_address(address)
        self._readonly = readonly
        self._version = version
        self._server: ApiServer | None = None

    async def open(self) -> ApiTrouble | None:
        """Answer from now on. Importing the server takes half a second, so a thread does it."""
        try:
            self._server = await asyncio.to_thread(self._build)
            await self._server.start()
        except ApiTrouble as trouble:
            found = trouble
        except Exception as error:
            found = ApiTrouble(f"the API could not be started: {plain_error(error)}")
        else:
            return None
        self._engine.desk.down(str(found))
        return found

    def _build(self) -> "ApiServer":
        from engine import ApiServer

        return ApiServer(
            self._engine,
            self._settings,
            self._address,
            readonly=self._readonly,
            version=self._version,
        )

    async def close(self, drain_s: float = 1.0) -> None:
        """Answer no longer; what is being answered may end for ``drain_s`` seconds."""
        if self._server is not None:
            await self._server.stop(drain_s)

    def note(self, kind: str, message: str, actor: str) -> None:
        """Put an event on the engine's record."""
        self._engine.desk.note(kind, message, actor=actor)
