"""Turns whatever a handler raises into a refusal. No traceback reaches a client or a terminal."""

import traceback
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import Code, Decision, EngineError, refuse
from engine.face import Desk
from engine.http.refusal import refusal, unforeseen
from engine.text import clean_line

_SEEN = 200
"""Characters of a wrong value that are repeated to whoever sent it."""


def install(app: FastAPI) -> None:
    """Give every known kind of error its Decision."""
    app.add_exception_handler(EngineError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EngineError)  # noqa: S101 - the handler's type is wider than its use
    return refusal(error.decision)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return refusal(invalid(error.errors()))


def invalid(errors: Sequence[Any]) -> Decision:
    """What pydantic found wrong, as ``invalid_request``; ``param`` is the first wrong field."""
    first = errors[0]
    path = [str(part) for part in first["loc"]]
    if len(path) > 1 and path[0] in ("body", "query", "path", "header"):
        path = path[1:]
    # Which of a union's types was tried, such as ``literal['none','auto']``, is no field's name.
    name = ".".join(part for part in path if "[" not in part) or "body"
    found = clean_line(repr(first.get("input")), limit=_SEEN)
    return refuse(
        Code.INVALID_REQUEST,
        f"{name}: {clean_line(first['msg'])}",
        expected=clean_line(first["msg"]),
        found=found,
        remedy=f"mend {name}; /docs says what is asked for",
        param=name,
    )


async def _plain(request: Request, error: Exception) -> JSONResponse:
    """What the router itself raises: no such path, no such method, an unreadable body."""
    assert isinstance(error, HTTPException)  # noqa: S101
    where = clean_line(f"{request.method} {request.url.path}", limit=_SEEN)
    codes = {404: Code.PATH_NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}
    code = codes.get(error.status_code, Code.INVALID_REQUEST)
    words = {
        Code.PATH_NOT_FOUND: f"there is nothing at {where}",
        Code.METHOD_NOT_ALLOWED: f"{where} is not allowed",
    }
    decision = refuse(
        code,
        words.get(code, clean_line(str(error.detail))),
        expected="a path and method of /docs",
        found=where,
        remedy="see /docs",
    )
    return refusal(decision, error.headers)


class Faults:
    """Catches what no handler of :func:`install` takes: an event with an id, and a 500.

    A response that has begun cannot be taken back: its connection is cut instead, so that the
    client does not take half an answer for a whole one.
    """

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            incident = uuid.uuid4().hex[:12]
            where = f"{scope.get('method', '')} {scope.get('path', '')}".strip()
            what = f"{type(error).__name__}: {error}"
            self._desk.note(
                "api_failed",
                f"{where} failed ({incident}): {what}",
                level="error",
                data={"incident": incident, "traceback": traceback.format_exc(limit=-12)},
            )
            if not begun:
                await refusal(unforeseen(incident))(scope, receive, send)
