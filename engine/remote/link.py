"""One request over one connection, on the event loop: h11 and nothing else.

A full HTTP client takes a quarter of a second to import, which is half of what a console may take
to its first paint; h11 is here with the server, and takes 20 ms.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

from engine.errors import EngineError
from engine.face import OutOfReach
from engine.remote.refusal import decision_of
from engine.text import clean_line

CONNECT_S = 5.0
"""A machine that is there answers in a fraction of that."""
_CHUNK = 64 * 1024
_LARGEST = 256 * 1024 * 1024
"""Bytes of one answer: a snapshot of a thousand models is a few million."""
_DEAD_AFTER_MS = 15_000
_BAD = 400


@dataclass(slots=True)
class Answer:
    """The head of an answer, and the rest of it to be read."""

    status: int
    parts: AsyncIterator[bytes]
    abort: Callable[[], None]
    """Cut the connection; whoever reads finds it lost."""

    async def whole(self) -> bytes:
        """Everything there is."""
        data = bytearray()
        async for part in self.parts:
            data += part
            if len(data) > _LARGEST:
                raise OutOfReach("the engine's answer has no end")
        return bytes(data)

    async def lines(self) -> AsyncIterator[str]:
        """Lines as they come, without their ends."""
        rest = b""
        async for part in self.parts:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r").decode("utf-8", "replace")
            if len(rest) > _LARGEST:
                raise OutOfReach("a line of the engine's answer has no end")


@dataclass(frozen=True, slots=True)
class Link:
    """How an engine is reached.

    Args:
        url: Such as ``http://127.0.0.1:1234``.
        key: Its admin key, or empty.
        actor: Who acts, for the record.
        api_key: The key for inference, where there is one and no admin key, which serves for both.
    """

    url: str
    key: str = field(default="", repr=False)
    actor: str = ""
    api_key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The engine as people call it: ``HOST:PORT``."""
        return clean_line(urlsplit(self.url).netloc.rpartition("@")[2])

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON an engine answers with.

        Raises:
            EngineError: it refuses.
            OutOfReach: nobody answers, or no engine.
        """
        async with self.open(method, path, body, headers) as answer:
            return self._read(await answer.whole())

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        silent_s: float | None = None,
    ) -> AsyncIterator[Answer]:
        """An answer to be read as it comes; the connection ends with the block.

        Args:
            silent_s: Longest wait for a next byte; None is for ever, while the connection lives.

        Raises:
            EngineError: the engine refuses.
            OutOfReach: nobody answers, or no engine.
        """
        data = b"" if body is None else json.dumps(body).encode()
        try:
            reader, writer = await self._connect()
        except (OSError, TimeoutError) as error:
            raise OutOfReach(f"no engine answers at {self.name}: {_why(error)}") from error
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
        try:
            try:
                head = self._head(method, path, data, headers or {}, has_body=body is not None)
                for event in (head, h11.Data(data=data), h11.EndOfMessage()):
                    writer.write(connection.send(event) or b"")
                await writer.drain()
                parts = _parts(connection, reader, silent_s)
                first = await anext(parts)
            except (OSError, h11.ProtocolError, StopAsyncIteration, TimeoutError) as error:
                raise self._lost(error) from error
            assert isinstance(first, h11.Response)  # noqa: S101 - the first event of every answer
            answer = Answer(first.status_code, self._bytes(parts), writer.transport.abort)
            if first.status_code >= _BAD:
                self._read(await answer.whole(), refused=True)
            yield answer
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                parts.hostname, port, ssl=ssl.create_default_context() if secure else None
            )
        _keep_alive(writer.get_extra_info("socket"))
        return reader, writer

    def _head(
        self, method: str, path: str, data: bytes, more: Mapping[str, str], *, has_body: bool
    ) -> h11.Request:
        parts = urlsplit(self.url)
        headers = {
            "Host": parts.netloc.rpartition("@")[2],
            "Accept": "application/json, text/event-stream",
            "Connection": "close",
            "X-LMX-Actor": self.actor,
            "X-Client-ID": self.actor,
        }
        if has_body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if self.key:
            headers["X-Admin-Key"] = self.key
        if self.api_key:
            headers["X-API-Key"] = self.api_key
        told = {**headers, **more}
        return h11.Request(
            method=method,
            target=parts.path.rstrip("/") + path,
            headers=[(n.encode(), v.encode("latin-1", "replace")) for n, v in told.items()],
        )

    async def _bytes(self, parts: AsyncIterator[h11.Event]) -> AsyncIterator[bytes]:
        try:
            async for event in parts:
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
        except (OSError, h11.ProtocolError, TimeoutError) as error:
            raise self._lost(error) from error

    def _read(self, content: bytes, *, refused: bool = False) -> Any:
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        decision = decision_of(told)
        if decision is not None:
            raise EngineError(decision)
        if refused or told is None:
            raise OutOfReach(f"what answers at {self.name} is no Opta-LMX engine")
        return told

    def _lost(self, error: BaseException) -> OutOfReach:
        return OutOfReach(f"the engine at {self.name} went away: {_why(error)}")


async def _parts(
    connection: h11.Connection, reader: asyncio.StreamReader, silent_s: float | None
) -> AsyncIterator[h11.Event]:
    """The answer's events up to its end. Raises what the connection raises when it is cut."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(silent_s):
                connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return
        elif isinstance(event, h11.Event):
            yield event


def _keep_alive(connection: socket.socket) -> None:
    """Have the system find out that the other side is gone without a word, within half a minute:
    an action may take as long as it takes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 10),
        ("TCP_KEEPALIVE", 10),  # what macOS calls it
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _DEAD_AFTER_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it is silent"
    if isinstance(error, StopAsyncIteration | h11.ProtocolError):
        return "the connection was closed"
    return clean_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
