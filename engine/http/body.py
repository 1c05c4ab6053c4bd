"""Reads a request's body before anybody works with it: whole, in time, within its limits, JSON."""

import asyncio
from contextlib import suppress
from typing import cast

import pydantic_core
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from engine.errors import Code, Decision, EngineError, refuse
from engine.settings import HttpLimits
from engine.text import clean_line

DEPTH = 200
"""Arrays and objects inside each other; the JSON parser's own bound (pydantic-core's jiter)."""
CONTAINERS = 500_000
"""Arrays and objects in one body, brackets inside of texts included. Eight million bytes of empty
arrays took 0.5 s to read, on the loop that serves everybody; so many take a tenth of that."""
_LINGER_S = 2.0
_LINGER_FACTOR = 4


def _too_large(found: str, limit: int) -> EngineError:
    return EngineError(
        refuse(
            Code.PAYLOAD_TOO_LARGE,
            f"the body is longer than {limit:,} bytes",
            expected=f"at most {limit:,} bytes",
            found=found,
            remedy="shorten the request, or raise body_bytes under [http] in the settings",
        )
    )


def _not_json(found: str, *, code: Code, expected: str) -> EngineError:
    return EngineError(
        refuse(
            code,
            f"the body cannot be read: {found}",
            expected=expected,
            found=found,
            remedy="send JSON with Content-Type: application/json",
            param="body",
        )
    )


def check_kind(headers: Headers) -> None:
    """Whether what a body claims to be is JSON.

    Raises:
        EngineError: ``unsupported_media_type``. A page in a browser can send any other kind to
            another host without asking it first.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = headers.get("content-encoding", "identity").strip().lower()
    if kind != "application/json" or coding != "identity":
        found = f"Content-Type {kind or 'missing'}"
        if coding != "identity":
            found = f"Content-Encoding {coding}"
        expected = "application/json, not compressed"
        raise _not_json(clean_line(found), code=Code.UNSUPPORTED_MEDIA_TYPE, expected=expected)


def has_body(headers: Headers) -> bool:
    """Whether a request brings a body along."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def read_body(receive: Receive, headers: Headers, limits: HttpLimits) -> bytes:
    """The whole body.

    Raises:
        EngineError: ``payload_too_large``, also when no length was announced;
            ``request_timeout``; ``invalid_request`` when it is no JSON or nests too deep.
        ClientGone: the client hung up meanwhile.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        await _let_finish(receive, int(announced), limits.body_bytes)
        raise _too_large(f"{int(announced):,} bytes", limits.body_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > limits.body_bytes or not message.get("more_body", False):
                    break
    except TimeoutError:
        raise EngineError(_too_slow(len(body), limits.body_s)) from None
    if len(body) > limits.body_bytes:
        await _let_finish(receive, 0, limits.body_bytes)
        raise _too_large(f"more than {limits.body_bytes:,} bytes", limits.body_bytes)
    _check_json(bytes(body))
    return bytes(body)


class ClientGone(Exception):
    """There is nobody left to answer."""


def _too_slow(received: int, limit_s: float) -> Decision:
    return refuse(
        Code.REQUEST_TIMEOUT,
        f"the body did not arrive within {limit_s:g} s",
        expected=f"a whole body within {limit_s:g} s",
        found=f"{received:,} bytes",
        remedy="send it faster",
    )


def _check_json(body: bytes) -> None:
    if (count := body.count(b"[") + body.count(b"{")) > CONTAINERS:
        raise EngineError(
            refuse(
                Code.PAYLOAD_TOO_LARGE,
                f"the body holds more than {CONTAINERS:,} arrays and objects",
                expected=f"at most {CONTAINERS:,} opening brackets",
                found=f"{count:,}",
                remedy="shorten the request",
            )
        )
    try:
        pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        why = clean_line(str(error), limit=200)
        if "recursion" in why:
            why = f"it nests deeper than {DEPTH}: {why}"
        raise _not_json(why, code=Code.INVALID_REQUEST, expected="JSON") from error


async def _let_finish(receive: Receive, announced: int, limit: int) -> None:
    """Swallow the rest for a moment: a client in the middle of sending reads no answer, it only
    sees its connection cut."""
    left = limit * _LINGER_FACTOR
    if announced > left:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b"")) or 1
                if not message.get("more_body", False):
                    return


def replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that hands out this body, then whatever else comes."""
    handed = False

    async def again() -> Message:
        nonlocal handed
        if not handed:
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


def headers_of(scope: Scope) -> Headers:
    """The headers of a request, read without case."""
    return Headers(raw=cast("list[tuple[bytes, bytes]]", scope["headers"]))
