"""Asks a running engine over its API. Nothing but the standard library: a script may ask a hundred
times a minute.
"""

import argparse
import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from console.cli.answer import DONE, INTERRUPTED, NO_ENGINE, REFUSED, complain, say, tell

CONNECT_S = 5.0
"""A machine that is there answers in a fraction of that; one that is not need not be waited for."""
_LONGEST_KEY = 4096


class NoEngine(Exception):
    """There is nobody to ask; the message says where was looked."""


class Refused(Exception):
    """The engine said no; ``error`` is its Decision as the API tells it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error


def add_to(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    """Give a command what every command over the API has.

    Args:
        run: The command; what it raises is told by :func:`asked`.
    """
    parser.add_argument("--url", help="an engine elsewhere; default: LMX_URL, then this home's")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(ask=run)


def asked(options: argparse.Namespace, work: Callable[[], int]) -> int:
    """Run a command that asks an engine; returns the exit code."""
    try:
        return work()
    except NoEngine as error:
        return complain(shown(str(error)), NO_ENGINE)
    except Refused as error:
        return _refuse(error, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        return INTERRUPTED


def _refuse(error: Refused, *, as_json: bool) -> int:
    if as_json:
        say({"error": error.error})
    said = error.error
    tell(shown(f"{said.get('code')}: {said.get('message')}"))
    if said.get("remedy"):
        tell(shown(f"next: {said['remedy']}"))
    return REFUSED


def shown(text: str) -> str:
    """Words from elsewhere, on one line and harmless to a terminal."""
    from engine import clean_line

    return clean_line(text)


@dataclass(frozen=True, slots=True)
class Client:
    """One engine's API.

    Args:
        url: Its address, such as ``http://127.0.0.1:1234``.
        keys: What is shown at the two doors, by ``api`` and ``admin``.
    """

    url: str
    keys: dict[str, str] = field(default_factory=dict, repr=False)

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises NoEngine, Refused."""
        return self._json("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What an action comes to, however long it takes. Raises NoEngine, Refused."""
        return self._json("POST", path, body)

    def _json(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        with closing(self._connect()) as connection:
            answer = self._send(connection, method, path, body)
            return self._read(answer)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The data of a server-sent stream, up to its end.

        Raises:
            Refused: it was refused, or ended with an error.
            NoEngine: nobody answers, or the engine went away in the middle.
        """
        with closing(self._connect()) as connection:
            answer = self._send(connection, "POST", path, body)
            if answer.status != http.client.OK:
                self._read(answer)
            try:
                for line in answer:
                    name, _, data = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                    if name != "data":
                        continue
                    if data == "[DONE]":
                        return
                    item = json.loads(data)
                    if "error" in item:
                        raise Refused(item["error"])
                    yield item
            except (OSError, http.client.HTTPException, ValueError) as lost:
                raise self._lost(lost) from lost
        raise NoEngine(f"the engine at {self.url} went away before the answer was whole")

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else None
        connection = (kind or http.client.HTTPConnection)(
            parts.hostname or "", parts.port, timeout=CONNECT_S
        )
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise NoEngine(f"no engine answers at {self.url}: {_why(error)}") from error
        connection.sock.settimeout(None)  # a load may take as long as it takes
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: dict[str, Any] | None,
    ) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        try:
            prefix = urlsplit(self.url).path.rstrip("/")
            connection.request(method, prefix + path, data, self._headers(path, data))
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error

    def _headers(self, path: str, data: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream"}
        if data is not None:
            from console.terminal import actor_name

            actor = actor_name(os.environ).encode("ascii", "replace").decode()
            headers |= {
                "Content-Type": "application/json",
                "X-LMX-Actor": actor,
                "X-Client-ID": actor,
            }
        if key := self.keys.get("admin" if path.startswith("/admin") else "api"):
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _read(self, answer: http.client.HTTPResponse) -> Any:
        try:
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        except ValueError:
            content = None
        if answer.status < http.client.BAD_REQUEST and content is not None:
            return content
        said = content.get("error") if isinstance(content, dict) else None
        if isinstance(said, dict) and "code" in said:
            raise Refused(said)
        raise NoEngine(f"what answers at {self.url} is no Opta-LMX engine")

    def _lost(self, error: Exception) -> NoEngine:
        return NoEngine(f"the engine at {self.url} went away: {_why(error)}")


def find_engine(url: str | None) -> Client:
    """The engine meant: ``--url``, ``LMX_URL``, or the one of this home.

    Raises:
        NoEngine: none is named, or the one of this home has no API.
    """
    if given := url or os.environ.get("LMX_URL"):
        return engine_elsewhere(given)
    from engine import default_home

    return engine_of(default_home())


def engine_of(home: Path) -> Client:
    """The engine of a home of this machine.

    Raises:
        NoEngine: there is none, or it has no API.
    """
    from engine import read_engine

    about = read_engine(home / "engine.json")
    if about is None:
        raise NoEngine(f"no engine runs in {home}; start `lmx` or `lmx serve`, or name one: --url")
    pid, address, _ = about
    if not address:
        raise NoEngine(f"the engine of {home} (process {pid}) has no API")
    keys = {}
    for door in ("api", "admin"):
        key = os.environ.get(f"LMX_{door.upper()}_KEY") or _key(os.fspath(home / f"{door}-key"))
        if key:
            keys[door] = key
    return Client(f"http://{_reachable(address)}", keys)


def engine_elsewhere(url: str) -> Client:
    """An engine that was named. It gets the keys of the environment only: a home's own keys are
    for that home's engine.

    Raises:
        NoEngine: this is no address.
    """
    if "//" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NoEngine(f"{url!r} is no address of an engine; as in http://127.0.0.1:1234")
    doors = ("api", "admin")
    keys = {door: os.environ.get(f"LMX_{door.upper()}_KEY", "") for door in doors}
    return Client(url, keys)


def _reachable(address: str) -> str:
    """Where to knock, for an engine that answers at every address of this machine."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104


def _key(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read(_LONGEST_KEY).strip()
    except (OSError, ValueError):
        return ""


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def done(content: dict[str, Any], words: str, *, as_json: bool) -> int:
    """Answer what an action came to; returns the exit code."""
    if as_json:
        say(content)
    else:
        tell(shown(words))
    return DONE
