"""How an answer leaves: whole, or as server-sent events; either way it ends with its client."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engine.dialect import Piece
from engine.errors import Decision, EngineError
from engine.face import ChatDelta, ChatEnd
from engine.http.openai.choice import Choice
from engine.http.openai.feed import Feed, Refused, Silence

HEAD_PATIENCE_S = 2.0
"""How long a stream's head waits for the first word, so that a refusal of the worker (a prompt too
long, a template that objects) still gets its own status. Later ones come as an error event."""
STALLED_S = 120.0
"""A client that takes nothing for so long is taken for gone. Its slot is not held meanwhile: an
answer is made whether or not it is read."""
CLIENT_GONE = 499
"""What the log of a proxy calls it; nobody reads the response."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""Made once: ``json.dumps`` makes one of these with every token."""


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    text = _ENCODER.encode(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


DONE = b"data: [DONE]\n\n"
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}}
}
"""The two forms a success may have, for the API's description."""


class EventStream(Response):
    """Sends what ``lines`` yields until it ends or the client goes away.

    Args:
        close: Called in the end, however it came.
    """

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        super().__init__(
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            media_type=self.media_type,
        )
        del self.headers["content-length"]
        self._lines = lines
        self._close = close

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            with contextlib.suppress(TimeoutError):
                await _while_connected(receive, self._send(send))
        finally:
            self._close()

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async for line in self._lines:
            async with asyncio.timeout(STALLED_S):
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Teller(Protocol):
    """Puts what a stream hears into one endpoint's words; each call returns whole events."""

    def hear(self, choice: Choice, said: ChatDelta | ChatEnd) -> bytes:
        """What came next of one choice, its end included."""
        ...

    def fail(self, decision: Decision) -> bytes:
        """The one event that ends a stream that failed."""
        ...

    def close(self) -> bytes:
        """What follows the end of the last choice."""
        ...


async def streamed(feed: Feed, teller: Teller) -> Response:
    """The answer as events, once its first word has come.

    Raises:
        EngineError: the first word is a refusal, which has a status of its own.
    """
    await feed.head(HEAD_PATIENCE_S)
    return EventStream(_lines(feed, teller), feed.close)


async def relayed(feed: Feed, teller: Teller, begin: Callable[[], bytes]) -> Response:
    """The answer as events from the moment the engine has the request.

    Args:
        begin: What is told before the first word.

    Raises:
        EngineError: the engine does not take it.
    """
    await feed.opened()
    return EventStream(_lines(feed, teller, begin()), feed.close)


async def _lines(feed: Feed, teller: Teller, begin: bytes = b"") -> AsyncIterator[bytes]:
    """Events until every choice has ended, or the first has failed: then nothing follows."""
    if begin:
        yield begin
    while not feed.ended:
        told = b""
        for item in await feed.take():
            match item:
                case Silence():
                    told += b": still at it\n\n"
                case Refused(decision):
                    yield told + teller.fail(decision)
                    return
                case (choice, said):
                    told += teller.hear(choice, said)
                    if choice.refusal is not None:
                        yield told + teller.fail(choice.refusal)
                        return
        if told:
            yield told
    yield teller.close()


async def whole(
    request: Request,
    feed: Feed,
    body: Callable[[Sequence[Choice]], object],
    tell: Callable[[Sequence[Piece]], object] = lambda _: None,
) -> Response:
    """The answer in one piece, once every choice has ended.

    Args:
        body: Makes it of the choices.
        tell: Told of the pieces as they come.

    Raises:
        EngineError: a choice failed; the others are ended.
    """
    try:
        if await _while_connected(request.receive, _collect(feed, tell)):
            return JSONResponse(body(feed.choices))
        return Response(status_code=CLIENT_GONE)
    finally:
        feed.close()


async def _collect(feed: Feed, tell: Callable[[Sequence[Piece]], object]) -> None:
    while not feed.ended:
        for item in await feed.take():
            match item:
                case Refused(decision):
                    raise EngineError(decision)
                case (choice, said):
                    tell(choice.hear(said))
                    if choice.refusal is not None:
                        raise EngineError(choice.refusal)


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless the client goes away first; False if it did."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
