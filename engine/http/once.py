"""No action twice: an action that is sent again with its key is answered with the first's result.

A client whose connection broke cannot know whether its action arrived. It sends it again with the
same ``Idempotency-Key``; what still runs is joined, what is over is told again.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import Code, Decision, refuse
from engine.http.body import headers_of, replayed
from engine.http.refusal import refusal
from engine.text import clean_line

KEPT, KEPT_S = 256, 600.0
"""So many results, for so long: a client that has not come back by then has given up."""
_LONGEST = 200
_ACTIONS = frozenset({"POST", "DELETE"})


@dataclass(slots=True)
class _Deed:
    """One action: what was asked, and the messages of its answer once there is one."""

    asked: bytes
    at: float
    answer: "asyncio.Future[list[Message]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Once:
    """Stands behind the guard and in front of every action under ``/admin``.

    Args:
        boot: The engine's present life; an action meant for another one is refused.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self, app: ASGIApp, *, boot: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._boot = boot
        self._monotonic = monotonic
        self._deeds: OrderedDict[str, _Deed] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] not in _ACTIONS:
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        key = headers.get("idempotency-key", "")
        meant = headers.get("x-lmx-engine", self._boot)
        if not str(scope["path"]).startswith("/admin/") or not (key or meant != self._boot):
            await self._app(scope, receive, send)
        elif meant != self._boot:
            await refusal(_another_life())(scope, receive, send)
        elif len(key) > _LONGEST:
            await refusal(_no_key(key))(scope, receive, send)
        else:
            await self._once(key, scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        asked = hashlib.sha256(
            b"\n".join((scope["method"].encode(), scope["raw_path"], scope["query_string"], body))
        ).digest()
        self._forget()
        deed = self._deeds.get(key)
        if deed is None:
            self._deeds[key] = deed = _Deed(asked, self._monotonic())
            await self._do(key, deed, scope, replayed(body, receive))
        if deed.asked != asked:
            await refusal(_used(key))(scope, receive, send)
            return
        for message in await asyncio.shield(deed.answer):
            await send(message)

    async def _do(self, key: str, deed: _Deed, scope: Scope, receive: Receive) -> None:
        """Do it; whoever asks meanwhile waits for the same answer."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            await self._app(scope, receive, keep)
        except BaseException:
            self._deeds.pop(key, None)
            deed.answer.cancel()
            raise
        deed.answer.set_result(answer)

    def _forget(self) -> None:
        """Let go of results nobody will ask for; never of an action that still runs."""
        oldest = self._monotonic() - KEPT_S
        surplus = len(self._deeds) - KEPT
        for key, deed in list(self._deeds.items()):
            if surplus <= 0 and deed.at >= oldest:
                return
            if deed.answer.done():
                del self._deeds[key]
                surplus -= 1


async def _body(receive: Receive) -> bytes:
    """The whole body; the guard has bounded it."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _another_life() -> Decision:
    return refuse(
        Code.CONFLICT,
        "the engine was started again since this was decided; nothing was done",
        expected="the engine the action was decided on",
        found="a later one",
        remedy="look at it again, then decide",
    )


def _no_key(key: str) -> Decision:
    return refuse(
        Code.INVALID_HEADER,
        f"Idempotency-Key is longer than {_LONGEST} characters",
        expected=f"at most {_LONGEST} characters",
        found=f"{len(key):,}",
        remedy="send a shorter key, such as a UUID",
        param="Idempotency-Key",
    )


def _used(key: str) -> Decision:
    return refuse(
        Code.CONFLICT,
        "this Idempotency-Key was used for another action",
        expected="a key of its own for each action",
        found=clean_line(key, limit=80),
        remedy="send a new key",
        param="Idempotency-Key",
    )
