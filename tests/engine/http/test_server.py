"""The server's life: where it answers, who holds a port, how it ends."""

import asyncio
import os
import socket
import sys

import pytest

from engine.address import Address
from engine.home.home import read_engine
from engine.http.holder import AddressUnusable, PortTaken
from engine.http.server import ApiServer
from tests.end_to_end.conftest import Opener
from tests.engine.http.conftest import OpenApi, read_answer


async def test_it_says_where_it_answers_and_takes_it_back(open_api: OpenApi) -> None:
    api = await open_api()
    about = read_engine(api.engine.settings.home / "engine.json")
    assert about is not None
    assert about[1] == api.engine.snapshot().api == f"127.0.0.1:{api.port}"
    await api.server.stop()
    assert api.engine.snapshot().api == ""
    with pytest.raises(OSError, match=r"refused|Connect"):
        await api.connect()


async def test_a_taken_port_names_its_holder(open_engine: Opener) -> None:
    engine = await open_engine()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = ApiServer(engine, engine.settings, Address("127.0.0.1", port))
        with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{port}") as caught:
            await server.start()
    if sys.platform == "linux":
        assert f"process {os.getpid()} (" in str(caught.value)
    await server.start()  # free again
    await server.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours(open_engine: Opener, host: str) -> None:
    engine = await open_engine()
    (engine.settings.home / "api-key").write_text("k")
    (engine.settings.home / "api-key").chmod(0o600)
    with pytest.raises(AddressUnusable, match=host):
        await ApiServer(engine, engine.settings, Address(host, 0)).start()


async def test_idle_connections_do_not_hold_up_the_end(open_api: OpenApi) -> None:
    api = await open_api()
    reader, writer = await api.connect()
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await read_answer(reader)).status == 200
    silent = await api.connect()
    half = await api.connect()
    half[1].write(b"POST /admin/models/load HTTP/1.1\r\nHost: localhost\r\nContent-")
    async with asyncio.timeout(5):
        await api.server.stop()
        await api.server.stop()
        for other in (reader, silent[0], half[0]):
            assert await other.read() == b""
    for _, end in ((reader, writer), silent, half):
        end.close()


async def test_whatever_breaks_is_a_500_with_an_id_and_an_event(
    open_api: OpenApi, capfd: pytest.CaptureFixture[str]
) -> None:
    api = await open_api()

    async def broken() -> None:
        raise ZeroDivisionError("/secret/path")

    api.server.app.get("/broken")(broken)
    answer = await api.get("/broken")
    assert (answer.status, answer.code) == (500, "unknown_failure")
    error = answer.json()["error"]
    assert error["type"] == "server_error"
    assert b"ZeroDivision" not in answer.body
    assert b"/secret" not in answer.body
    [event] = [e for e in api.engine.events() if e.kind == "api_failed"]
    assert error["evidence_id"] in event.message
    assert "ZeroDivisionError" in event.message
    assert capfd.readouterr() == ("", "")
