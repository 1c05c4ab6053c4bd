"""The hostile part: what never reaches a handler, and what it is told."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.address import Address, parse_address
from engine.http.guard import BindRefused, check_bind
from engine.http.keys import Keys, KeyTrouble, read_keys
from tests.engine.http.conftest import OpenApi, read_answer

LIMITED: dict[str, Any] = {"http": {"body_bytes": 2000, "body_s": 0.3, "head_s": 0.3}}
JSON = "Content-Type: application/json"


def post(body: bytes, *headers: str, path: str = "/admin/models/load") -> bytes:
    """A POST as bytes; its length is added unless the headers say how long it is."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    if not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


# -- Host and Origin ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:9", "LOCALHOST.", "127.9.9.9"])
async def test_our_own_names_are_let_in(open_api: OpenApi, host: str) -> None:
    api = await open_api()
    assert (await api.get("/livez", Host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:1234", "127.0.0.1.evil.example", "192.168.0.7", "", "*"]
)
async def test_a_name_that_was_pointed_here_is_not_ours(open_api: OpenApi, host: str) -> None:
    api = await open_api()
    answer = await api.get("/livez", Host=host)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "allowed_hosts" in answer.json()["error"]["remedy"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", ""])
async def test_pages_of_other_sites_may_not_call(open_api: OpenApi, origin: str) -> None:
    api = await open_api()
    answer = await api.get("/livez", Origin=origin)
    assert (answer.status, answer.code) == (403, "forbidden")


async def test_our_own_page_and_named_ones_may_call(open_api: OpenApi) -> None:
    friend = "https://chat.example.org"
    api = await open_api(allowed_origins=(friend,), allowed_hosts=("models.example.org",))
    own = await api.get("/livez", Host="localhost:7", Origin="http://localhost:7")
    assert own.status == 200
    named = await api.get("/livez", Host="models.example.org", Origin=friend)
    assert named.headers["access-control-allow-origin"] == friend
    ask = {"Origin": friend, "Access-Control-Request-Method": "POST"}
    assert (await api.ask("OPTIONS", "/v1/models", headers=ask)).status == 200


# -- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        (),
        (JSON, "Content-Encoding: gzip"),
    ],
)
async def test_a_body_must_be_json(open_api: OpenApi, headers: tuple[str, ...]) -> None:
    api = await open_api()
    answer = await api.raw(post(b"{}", *headers))
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"{", b" ", b'{"a": NaN}', b"\xff\xfe", b'{"a":1}x', b"\x00"])
async def test_what_is_no_json_is_the_clients_fault(open_api: OpenApi, body: bytes) -> None:
    api = await open_api()
    answer = await api.raw(post(body, JSON))
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize("depth", [500, 200_000])
async def test_json_may_not_nest_for_ever(open_api: OpenApi, depth: int) -> None:
    api = await open_api()
    answer = await api.raw(post(b"[" * depth + b"]" * depth, JSON))
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_a_long_body_is_refused_by_its_length_and_without_one(open_api: OpenApi) -> None:
    api = await open_api(**LIMITED)
    body = json.dumps({"model_id": "x" * 3000}).encode()
    answer = await api.raw(post(body, JSON))
    assert (answer.status, answer.code) == (413, "payload_too_large")
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:1500], body[1500:]))
    answer = await api.raw(post(chunked + b"0\r\n\r\n", JSON, "Transfer-Encoding: chunked"))
    assert (answer.status, answer.code) == (413, "payload_too_large")
    lie = post(b"{}", JSON, "Content-Length: 99999999999")
    assert (await api.raw(lie)).code == "payload_too_large"


async def test_a_long_head_is_refused_whoever_asks(open_api: OpenApi) -> None:
    api = await open_api(http={"head_bytes": 1000})
    answer = await api.ask("GET", "/livez", headers={"X-Long": "x" * 2000})
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert (await api.get("/livez")).status == 200


async def test_a_body_of_a_million_arrays_is_not_read(open_api: OpenApi) -> None:
    api = await open_api()
    answer = await api.raw(post(b"[" + b"[]," * 1_000_000 + b"1]", JSON))
    assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_nobody_may_claim_another_address(open_api: OpenApi) -> None:
    api = await open_api()
    headers = {"X-Forwarded-For": "8.8.8.8", "Host": "localhost"}
    await api.ask("POST", "/admin/registry/import", [], headers=headers)
    [event] = [e for e in api.engine.events() if e.kind == "registry_imported"]
    assert event.actor == "api:127.0.0.1"


async def test_a_body_that_never_comes_is_not_waited_for(open_api: OpenApi) -> None:
    api = await open_api(**LIMITED)
    answer = await api.raw(post(b'{"model', JSON, "Content-Length: 100"))
    assert (answer.status, answer.code) == (408, "request_timeout")


@pytest.mark.parametrize("head", [b"", b"GET /livez HTTP/1.1\r\nHost: local"])
async def test_a_head_that_never_comes_is_not_waited_for(open_api: OpenApi, head: bytes) -> None:
    api = await open_api(**LIMITED)
    answer = await api.raw(head)
    assert (answer.status, answer.code) == (408, "request_timeout")


async def test_the_second_request_of_a_connection_is_timed_too(open_api: OpenApi) -> None:
    api = await open_api(**LIMITED)
    reader, writer = await api.connect()
    for _ in range(2):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_answer(reader)).status == 200
    writer.write(b"GET /livez HTTP/1.1\r\n")
    async with asyncio.timeout(30):
        assert (await read_answer(reader)).code == "request_timeout"
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n : \r\n\r\n",
    ],
    ids=["tls", "no host", "two hosts", "long head", "negative length", "bad header"],
)
async def test_what_is_no_http_gets_the_same_shape(open_api: OpenApi, data: bytes) -> None:
    api = await open_api()
    answer = await api.raw(data)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert (await api.get("/livez")).status == 200


async def test_paths_and_methods_nobody_knows(open_api: OpenApi) -> None:
    api = await open_api()
    assert (await api.get("/nonesuch")).code == "path_not_found"
    assert (await api.get("/livez/")).code == "path_not_found"
    answer = await api.post("/livez")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


async def test_more_connections_than_it_takes(open_api: OpenApi) -> None:
    api = await open_api(http={"connections": 20})
    idle = [await api.connect() for _ in range(40)]
    answer = await api.get("/livez")
    assert (answer.status, answer.code) == (429, "queue_full")
    for _, writer in idle:
        writer.close()
    async with asyncio.timeout(30):
        while (await api.get("/livez")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# -- keys -----------------------------------------------------------------------------------------


def write_key(home: Path, name: str, key: str, mode: int = 0o600) -> None:
    """Put a key file into a home."""
    home.mkdir(mode=0o700, exist_ok=True)
    (home / name).write_text(f"{key}\n" if key else "")
    (home / name).chmod(mode)


async def test_each_door_wants_its_own_key(open_api: OpenApi, home: Path) -> None:
    write_key(home, "api-key", "for-inference")
    write_key(home, "admin-key", "for-administration")
    api = await open_api()
    for path, header, right, wrong in (
        ("/v1/models", "X_API_Key", "for-inference", "for-administration"),
        ("/admin/models", "X_Admin_Key", "for-administration", "for-inference"),
    ):
        for shown in ({}, {header: wrong}, {header: ""}, {"Authorization": f"Bearer {wrong}"}):
            answer = await api.get(path, **shown)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["type"] == "authentication_error"
        for shown in ({header: right}, {"Authorization": f"bearer {right}"}):
            assert (await api.get(path, **shown)).status != 401
    for path in ("/livez", "/readyz", "/healthz", "/docs", "/openapi.json"):
        assert (await api.get(path)).status != 401
    assert not any("for-" in event.message for event in api.engine.events())


def test_other_machines_need_keys() -> None:
    wide = Address("0.0.0.0", 1234)
    with pytest.raises(BindRefused, match="api-key"):
        check_bind(wide, Keys())
    check_bind(wide, Keys(api="k"))
    check_bind(parse_address("[::1]:1234"), Keys())


async def test_administration_from_elsewhere_needs_its_own_key(
    open_api: OpenApi, home: Path
) -> None:
    write_key(home, "api-key", "k")
    api = await open_api(host="0.0.0.0")
    answer = await api.get("/admin/models", Authorization="Bearer k")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert (await api.get("/livez", Host="192.168.7.7:1")).status == 200
    assert (await api.get("/livez", Host="evil.example")).status == 403


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_file_that_cannot_be_read_is_not_taken_for_none(home: Path) -> None:
    write_key(home, "api-key", "k", 0o000)
    with pytest.raises(KeyTrouble, match="cannot be read"):
        read_keys(home, {})


def test_a_key_others_may_read_is_refused(home: Path) -> None:
    write_key(home, "api-key", "hush", 0o644)
    with pytest.raises(KeyTrouble, match="chmod 600"):
        read_keys(home, {})
    write_key(home, "api-key", "", 0o600)
    with pytest.raises(KeyTrouble, match="empty"):
        read_keys(home, {})
    write_key(home, "api-key", "hush", 0o600)
    assert read_keys(home, {}).api == "hush"
    assert read_keys(home, {"LMX_API_KEY": "other"}).api == "other"
    assert "hush" not in repr(read_keys(home, {}))


def test_addresses() -> None:
    assert parse_address("1234") == ("127.0.0.1", 1234)
    assert parse_address(":80") == ("127.0.0.1", 80)
    assert str(parse_address("[::1]:80")) == "[::1]:80"
    assert parse_address("box:80").loopback is False
    for text in ("", "box", "box:", "box:70000", "box:-1", ":x"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_address(text)
