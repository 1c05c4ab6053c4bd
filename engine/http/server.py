"""The server: uvicorn inside the event loop the engine runs on."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator

import uvicorn

from engine.address import Address
from engine.face import ApiFace
from engine.http.app import make_app
from engine.http.connection import Connection
from engine.http.guard import check_bind
from engine.http.holder import AddressUnusable, PortTaken, holder_of
from engine.http.house import House
from engine.http.keys import read_keys
from engine.settings import Settings

_GRACE_S = 0.3
"""How long handlers may take to end once they were cancelled."""
_LAST_S = 0.05
"""What has arrived by then is read first: a socket closed over unread bytes resets its client."""
for _name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
    # Without a handler Python prints warnings to standard error, over the screen.
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


class ApiServer:
    """One API in front of one engine.

    Args:
        engine: Started, or about to be; it is told where the API answers.
        address: Where to answer; port 0 is any free one.
        readonly: Nothing under ``/admin`` may change anything.
        version: Of this program, for ``/docs`` and the status.

    Raises:
        KeyTrouble: a key file cannot serve.
        BindRefused: the address can be reached by others, and no key is asked for.
    """

    def __init__(
        self,
        engine: ApiFace,
        settings: Settings,
        address: Address,
        *,
        readonly: bool = False,
        version: str = "0",
    ) -> None:
        self._engine = engine
        keys = read_keys(settings.home)
        check_bind(address, keys)
        self.app = make_app(
            engine, settings, keys, address=address, readonly=readonly, version=version
        )
        self._wanted = address
        self._limits = settings.http
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = address
        """Where it answers, once started."""

    @property
    def house(self) -> House:
        """What the rooms share."""
        house = self.app.state.house
        assert isinstance(house, House)  # noqa: S101 - Starlette's state is untyped
        return house

    async def start(self) -> None:
        """Answer at the address, and say so in ``engine.json`` and on the board.

        Raises:
            PortTaken: another process answers there; the message says which.
            AddressUnusable: this machine cannot answer there.
        """
        listener = await asyncio.to_thread(_listen, self._wanted)
        self.address = Address(self._wanted.host, listener.getsockname()[1])
        config = uvicorn.Config(
            self.app,
            http=Connection.with_limits(self._limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the connection tells it, by the request and not by the clock
            proxy_headers=False,  # whoever is on this machine could claim any address
            h11_max_incomplete_event_size=32 * 1024,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=0,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn offers nothing to wait for
        if self._serving.done():
            await self._serving
        self._engine.desk.opened(str(self.address))

    async def stop(self, drain_s: float = 0.0) -> None:
        """Take no more connections, let answers end for ``drain_s`` seconds, then cut them.

        Idle connections and event streams are closed at once. Safe to call twice.
        """
        if self._server is None or self._serving is None:
            return
        server, self._server = self._server, None
        self._engine.desk.closed()
        self.house.ending.set()
        server.config.timeout_graceful_shutdown = drain_s  # type: ignore[assignment]
        server.leave()
        done, _ = await asyncio.wait({self._serving}, timeout=drain_s + 1.0)
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()
        if leftover := tuple(server.server_state.tasks):
            for task in leftover:
                task.cancel()
            await asyncio.wait(leftover, timeout=_GRACE_S)
        if not done:
            self._serving.cancel()
            await asyncio.wait({self._serving}, timeout=_GRACE_S)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End serving; what is being answered may come to its end first."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Wait for the end. Uvicorn would look for it ten times a second, half of what an idle
        console takes of a processor."""
        await self._leaving.wait()
        await asyncio.sleep(_LAST_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs the event loop."""
        yield


def _listen(address: Address) -> socket.socket:
    """A listening socket.

    Raises:
        PortTaken, AddressUnusable
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise AddressUnusable(address, str(error)) from error
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(address, holder_of(address.port)) from error
        raise AddressUnusable(address, error.strerror or str(error)) from error
    return listener
