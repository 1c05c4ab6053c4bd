"""Which engine a console attaches to: the one that runs in this home, or one that was named."""

import argparse
import getpass
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.client import Client, NoEngine, Refused, engine_elsewhere, engine_of, shown
from console.cli.release import program_version

if TYPE_CHECKING:
    from engine import RemoteEngine

STARTING_S = 5.0
"""An engine that has just taken the home opens its API so soon, or has none."""
_LOOK_S = 0.1
_TRIES = 3
_DOORS = ("unauthorized", "forbidden")


@dataclass(frozen=True, slots=True)
class Found:
    """An engine that answers and can be attached to."""

    client: Client
    status: dict[str, Any]

    @property
    def name(self) -> str:
        """Where it answers, for people."""
        return shown(self.client.url.partition("//")[2].rpartition("@")[2].rstrip("/"))

    def face(self, actor: str) -> "RemoteEngine":
        """The engine as a console sees it."""
        from engine import Link, RemoteEngine

        keys = self.client.keys
        link = Link(self.client.url, keys.get("admin", ""), actor, keys.get("api", ""))
        return RemoteEngine(link, version=program_version())


def add_to(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--attach",
        metavar="URL",
        help="look at the engine of another host; default: the one that runs here, if one does",
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="its admin key; asked for where one is needed"
    )


def named(url: str, key_file: Path | None) -> Found:
    """The engine at an address.

    Raises:
        NoEngine: nobody answers there, or no engine.
        Refused: the key does not fit.
        FaceMismatch: it is of another version.
    """
    return _greeted(engine_elsewhere(url), key_file)


def running(home: Path, key_file: Path | None) -> Found:
    """The engine that holds a home of this machine; one that is just starting is waited for.

    Raises:
        NoEngine: it has no API, or does not answer.
        Refused: the key does not fit.
        FaceMismatch: it is of another version.
    """
    from engine import read_engine

    about = read_engine(home / "engine.json")
    until = (about[2] if about else time.time()) + STARTING_S
    while True:
        try:
            return _greeted(engine_of(home), key_file)
        except NoEngine:
            if time.time() >= until:
                raise
        time.sleep(_LOOK_S)


def _greeted(client: Client, key_file: Path | None) -> Found:
    from engine import check_face

    if key_file is not None:
        client = _with(client, _key_in(key_file))
    for left in reversed(range(_TRIES)):
        try:
            status = client.get("/admin/status")
            break
        except Refused as refused:
            if refused.error.get("code") not in _DOORS or key_file is not None or not left:
                raise
            where = Found(client, {}).name
            client = _with(client, getpass.getpass(f"admin key of {where}: ").strip())
    found = Found(client, status)
    check_face(found.name, status.get("face"), str(status.get("version")), program_version())
    return found


def _with(client: Client, key: str) -> Client:
    return replace(client, keys=client.keys | {"admin": key})


def _key_in(path: Path) -> str:
    """The key in a file. Raises NoEngine: it cannot serve."""
    from engine import KeyTrouble, read_key

    try:
        return read_key(path)
    except FileNotFoundError:
        raise NoEngine(f"there is no key file {shown(os.fspath(path))}") from None
    except KeyTrouble as trouble:
        raise NoEngine(str(trouble)) from trouble
