"""The API of a console: shown where it answers, loud where it cannot."""

import http.client
import json
import re
import signal
import socket
from collections.abc import Callable

from tests.console.pty.conftest import Opener

Simulate = Callable[..., str]


def test_it_answers_beside_the_screen_and_goes_with_it(
    open_console: Opener, simulate: Simulate
) -> None:
    simulate("good")
    terminal = open_console()
    shown = terminal.wait_until(lambda s: re.search(r"api :\d", s) is not None, "the API's port")
    found = re.search(r"api :(\d+)", shown)
    assert found is not None
    client = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
    body = json.dumps({"model_id": "good"})
    client.request("POST", "/admin/models/load", body, {"Content-Type": "application/json"})
    assert json.loads(client.getresponse().read())["readiness"]["state"] == "routable"
    terminal.wait_for("routable")
    terminal.process.send_signal(signal.SIGTERM)  # the client still holds its connection
    assert terminal.wait_for_end(10.0) == 0
    client.close()


def test_a_taken_port_is_a_lasting_notice_and_the_console_goes_on(
    open_console: Opener, simulate: Simulate
) -> None:
    simulate("good")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        terminal = open_console("--api", f"127.0.0.1:{port}", size=(160, 36))
        terminal.wait_for(f"127.0.0.1:{port}: the port is taken by process", "unloaded")
        terminal.send("l")
        terminal.wait_for("Load", "admitted")
        terminal.send("\r")
        terminal.wait_for("routable", "the port is taken")


def test_there_need_not_be_one(open_console: Opener, simulate: Simulate) -> None:
    simulate("good")
    terminal = open_console("--no-api")
    terminal.wait_for("good", "unloaded")
    terminal.send("L")
    terminal.wait_for("serving")
    assert "api_started" not in terminal.text
    assert "answers at" not in terminal.text
