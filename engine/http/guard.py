"""Who may come in: Host and Origin against pages of other sites, keys, and what a body may be.

Pure ASGI, outermost: nothing behind it sees a request that did not pass.
"""

import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.address import Address, as_ip, is_loopback
from engine.errors import Code, Decision, EngineError, refuse
from engine.http.body import ClientGone, check_kind, has_body, headers_of, read_body, replayed
from engine.http.keys import Keys, same
from engine.http.refusal import refusal
from engine.http.trouble import ApiMisconfigured
from engine.settings import Settings
from engine.text import clean_line

_OPEN = frozenset({"/livez", "/readyz", "/healthz", "/docs", "/openapi.json"})
"""Needs no key: says whether it lives, and what may be asked."""
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_HARMLESS_POSTS = frozenset(
    f"/admin/models/{name}" for name in ("explain", "explanation", "probe", "render")
)


class BindRefused(ApiMisconfigured):
    """The API may not answer at this address; the message says why and what to do."""


def check_bind(address: Address, keys: Keys) -> None:
    """Whether the API may answer at an address that others can reach.

    Raises:
        BindRefused: nobody would be asked for a key there.
    """
    if not address.loopback and keys.api is None:
        raise BindRefused(
            f"{address} can be reached from other machines, and there is no API key; write one "
            "into api-key in the home folder (chmod 600), set LMX_API_KEY, or stay on 127.0.0.1"
        )


class Guard:
    """The API's door.

    Args:
        address: Where it answers.
        readonly: Nothing under ``/admin`` may change anything.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        keys: Keys,
        address: Address,
        readonly: bool,
    ) -> None:
        self._app = app
        self._keys = keys
        self._address = address
        self._readonly = readonly
        self._limits = settings.http
        self._hosts = frozenset(name.lower() for name in settings.allowed_hosts)
        self._origins = frozenset(name.lower().rstrip("/") for name in settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        try:
            self._check(scope, headers)
            if has_body(headers):
                check_kind(headers)
                body = await read_body(receive, headers, self._limits)
                receive = replayed(body, receive)
        except EngineError as error:
            await refusal(error.decision)(scope, receive, send)
            return
        except ClientGone:
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        method, path = str(scope["method"]), str(scope["path"])
        self._bound(headers, path)
        host = headers.get("host", "")
        if not self._knows(host):
            raise EngineError(_foreign("Host", host, "allowed_hosts"))
        origin = headers.get("origin")
        if origin is not None and not self._welcome(origin, host):
            raise EngineError(_foreign("Origin", origin, "allowed_origins"))
        if method == "OPTIONS" and origin is not None:
            return  # a browser asks beforehand, and without its keys
        self._ask_for_key(path, headers)
        if self._readonly and _changes(method, path):
            raise EngineError(
                refuse(
                    Code.FORBIDDEN,
                    "this engine was started with --readonly: nothing may be changed",
                    expected="a request that only looks",
                    found=f"{method} {clean_line(path, limit=200)}",
                    remedy="ask an engine that is not read-only",
                )
            )

    def _bound(self, headers: Headers, path: str) -> None:
        """A head that came in one piece is as long as it likes until here."""
        most = self._limits.head_bytes
        size = len(path) + sum(len(name) + len(value) for name, value in headers.raw)
        if size > most:
            raise EngineError(
                refuse(
                    Code.PAYLOAD_TOO_LARGE,
                    f"the head of the request is longer than {most:,} bytes",
                    expected=f"at most {most:,} bytes",
                    found=f"{size:,} bytes in {len(headers.raw)} headers",
                    remedy="send fewer headers, or raise head_bytes under [http] in the settings",
                )
            )

    # -- Host and Origin ------------------------------------------------------------------------

    def _knows(self, host: str) -> bool:
        """Whether this is one of our own names. A page of another site that has its name point
        here (DNS rebinding) still sends that name."""
        name = _name(host)
        if not name:
            return False
        if "*" in self._hosts or name in self._hosts or name == self._address.host.lower():
            return True
        if self._address.loopback:
            return is_loopback(name)
        if self._address.wildcard:
            own = socket.gethostname().lower()
            known = {own, own.partition(".")[0]}
            return as_ip(name) is not None or is_loopback(name) or name in known
        return False

    def _welcome(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may call: ours (``/docs``), or one of the settings."""
        if "*" in self._origins or origin.lower() in self._origins:
            return True
        return urlsplit(origin).netloc.lower() == host.lower()

    # -- keys -----------------------------------------------------------------------------------

    def _ask_for_key(self, path: str, headers: Headers) -> None:
        if path in _OPEN:
            return
        bearer = _bearer(headers.get("authorization", ""))
        if _is_admin(path):
            key = self._keys.admin
            if key is None and not self._address.loopback:
                raise EngineError(
                    refuse(
                        Code.FORBIDDEN,
                        "administration from other machines needs a key of its own",
                        expected="an admin-key file in the engine's home folder",
                        found="none",
                        remedy="write a key into admin-key (chmod 600) and restart",
                    )
                )
            shown, where = (headers.get("x-admin-key"), bearer), "X-Admin-Key"
        else:
            key = self._keys.api
            shown, where = (headers.get("x-api-key"), bearer), "X-API-Key"
        if key is None or any(same(candidate, key) for candidate in shown):
            return
        if self._keys.admin is not None and same(headers.get("x-admin-key"), self._keys.admin):
            return  # whoever may administer may ask
        raise EngineError(
            refuse(
                Code.UNAUTHORIZED,
                "a key is missing" if not any(shown) else "the key is wrong",
                expected=f"Authorization: Bearer KEY, or {where}: KEY",
                found="another key" if any(shown) else "none",
                remedy="send the key the operator gave you",
            )
        )


def _foreign(header: str, value: str, setting: str) -> Decision:
    return refuse(
        Code.FORBIDDEN,
        f"{header} {clean_line(value, limit=200) or 'is missing and'} is not allowed",
        expected=f"this host's own name, or one of {setting}",
        found=clean_line(value, limit=200) or "none",
        remedy=f"use the address the API answers at, or add it to {setting} in the settings",
    )


def _name(host: str) -> str:
    """The name in a ``Host`` header, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _bearer(value: str) -> str | None:
    scheme, _, key = value.partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _is_admin(path: str) -> bool:
    return path == "/admin" or path.startswith("/admin/")


def _changes(method: str, path: str) -> bool:
    return _is_admin(path) and method not in _LOOKS and path not in _HARMLESS_POSTS
