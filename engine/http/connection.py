"""One client's connection: uvicorn's, which neither waits for ever nor answers in plain text."""

import asyncio
import json
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.errors import Code, refuse
from engine.http.refusal import error_body, refusal
from engine.settings import HttpLimits


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    """What a connection too many is told, whatever it asks."""
    decision = refuse(
        Code.QUEUE_FULL,
        "too many connections are open",
        retry_after_s=1.0,
        expected="a free connection",
        found="none",
        remedy="come back in a second, or keep fewer connections open",
    )
    await refusal(decision, {"Connection": "close"})(scope, receive, send)


@lru_cache(1)
def _date(second: int) -> tuple[bytes, bytes]:
    """The ``Date`` of an answer (RFC 9110, 6.6.1), at this Unix time."""
    return b"date", formatdate(second, usegmt=True).encode()


class Connection(H11Protocol):
    """HTTP/1.1 by h11; a head that does not come to its end in time is answered and cut off."""

    head_s = 10.0
    most = 1024
    _head_due: asyncio.TimerHandle | None = None

    @classmethod
    def with_limits(cls, limits: HttpLimits) -> "type[Connection]":
        """A connection with these limits; uvicorn makes its own of the class it is given."""
        return type(
            "LimitedConnection", (cls,), {"head_s": limits.head_s, "most": limits.connections}
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.app = _busy
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE and self._head_due is None:
            self._wait_for_head()  # the first bytes of the next request
        self.server_state.default_headers = [_date(int(time.time()))]
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_came()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head_due = self.loop.call_later(self.head_s, self._too_slow)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _too_slow(self) -> None:
        self._head_due = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self.conn.our_state is not h11.IDLE:
            self.transport.close()
            return
        self._answer(
            408,
            Code.REQUEST_TIMEOUT,
            f"the head of the request did not arrive within {self.head_s:g} s",
        )

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so, in the shape every error has."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(400, Code.INVALID_REQUEST, msg)
        else:
            self.transport.close()

    def _answer(self, status: int, code: Code, message: str) -> None:
        decision = refuse(
            code, message, expected="an HTTP/1.1 request", found=message, remedy="mend the client"
        )
        body = json.dumps(error_body(decision)).encode()
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events: tuple[Any, ...] = (
            h11.Response(status_code=status, headers=headers, reason=b""),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
