"""Which engine a console attaches to, and what it shows at its door."""

import os
from pathlib import Path
from typing import Any

import pytest

from console.cli import attach
from console.cli.client import Client, NoEngine, Refused
from engine import FaceMismatch
from engine.delta import PROTOCOL

URL = "http://far:1234"
STATUS = {"face": PROTOCOL, "version": "1", "readonly": False}


class Door:
    """An engine that wants a key."""

    def __init__(self, key: str, status: dict[str, Any]) -> None:
        self.key = key
        self.status = status
        self.shown: list[str] = []

    def get(self, client: Client, _: str) -> Any:
        self.shown.append(client.keys.get("admin", ""))
        if self.key and self.shown[-1] != self.key:
            raise Refused({"code": "unauthorized", "message": "the key is wrong"})
        return self.status


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    own = Door("right", STATUS)

    def get(client: Client, path: str) -> Any:
        return own.get(client, path)

    monkeypatch.setattr(Client, "get", get)
    monkeypatch.delenv("LMX_ADMIN_KEY", raising=False)
    return own


def test_a_key_is_asked_for_until_it_fits(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["wrong", "right"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    found = attach.named(URL, None)
    assert door.shown == ["", "wrong", "right"]
    assert found.name == "far:1234"
    assert found.client.keys["admin"] == "right"


def test_three_wrong_ones_are_enough(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _: "wrong")
    with pytest.raises(Refused):
        attach.named(URL, None)
    assert len(door.shown) == 3


def test_a_key_file_is_read_and_must_be_private(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("right\n")
    path.chmod(0o644)
    with pytest.raises(NoEngine, match="chmod 600"):
        attach.named(URL, path)
    path.chmod(0o600)
    assert attach.named(URL, path).client.keys["admin"] == "right"
    path.write_text("wrong")
    with pytest.raises(Refused):  # whoever names a file is not asked
        attach.named(URL, path)
    path.write_text("")
    with pytest.raises(NoEngine, match="is empty"):
        attach.named(URL, path)
    with pytest.raises(NoEngine, match="there is no key file"):
        attach.named(URL, tmp_path / "none")


def test_a_pipe_is_no_key_file_and_is_not_waited_for(door: Door, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(NoEngine, match="cannot be read"):
        attach.named(URL, tmp_path / "key")


def test_an_engine_of_another_version_is_not_attached_to(door: Door) -> None:
    door.key = ""
    door.status = {"version": "0.0.1"}
    with pytest.raises(FaceMismatch, match=r"far:1234 is Opta-LMX 0.0.1 and cannot be attached"):
        attach.named(URL, None)


def test_a_home_without_an_engine_has_none_to_attach_to(tmp_path: Path) -> None:
    (tmp_path / "engine.json").write_text('{"pid": 1, "address": "", "since": 0}')
    with pytest.raises(NoEngine, match="has no API"):
        attach.running(tmp_path, None)
