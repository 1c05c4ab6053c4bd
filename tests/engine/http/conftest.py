"""The API in front of a real engine, on a loopback port of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.address import Address
from engine.http.server import ApiServer
from tests.end_to_end.conftest import (  # noqa: F401 - fixtures
    Opener,
    home,
    open_engine,
    simulate,
)

PATIENCE_S = 30.0


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json()["error"]["code"])


@dataclass
class Api:
    """A running API and a client that speaks bare sockets, so that nothing is mended on the way."""

    engine: Engine
    server: ApiServer

    @property
    def port(self) -> int:
        return self.server.address.port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, data: bytes) -> Answer:
        """Send bytes, read one answer."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                return await read_answer(reader)
        finally:
            writer.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, as a well-behaved client would send it."""
        data = b"" if body is None else json.dumps(body).encode()
        told = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if body is not None:
            told |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        told |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in told.items()), "", ""]
        return await self.raw("\r\n".join(lines).encode() + data)

    async def get(self, path: str, **headers: str) -> Answer:
        """A GET."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("GET", path, headers=named)

    async def post(self, path: str, body: object = None) -> Answer:
        """A POST of JSON."""
        return await self.ask("POST", path, {} if body is None else body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One response with a length, or up to the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Answer(int(first.split()[1]), headers, body)


OpenApi = Callable[..., Awaitable[Api]]


@pytest.fixture
async def open_api(open_engine: Opener, tmp_path: Path) -> AsyncIterator[OpenApi]:  # noqa: F811
    """Start an engine and its API; both are stopped at the end."""
    servers: list[ApiServer] = []

    async def start(*, readonly: bool = False, host: str = "127.0.0.1", **settings: Any) -> Api:
        engine = await open_engine(**settings)
        server = ApiServer(engine, engine.settings, Address(host, 0), readonly=readonly)
        await server.start()
        servers.append(server)
        return Api(engine, server)

    yield start
    for server in servers:
        await server.stop()
