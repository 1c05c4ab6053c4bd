"""The console over a real sshd on loopback: a small window, another size, a line that is cut."""

import getpass
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.console.pty.conftest import Terminal, all_gone, gone, surroundings

Simulate = Callable[..., str]
OpenOverSsh = Callable[..., Terminal]
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
GONE_S = 10.0
"""Within so many seconds of a cut connection nothing of the console may be left."""
MOUSE_ON = (b"\x1b[?1000h", b"\x1b[?1003h")

pytestmark = pytest.mark.skipif(
    not (SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")),
    reason="no sshd and ssh on this machine",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_key(path: Path) -> Path:
    """A key nobody else ever sees."""
    quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(quiet, check=True, timeout=60)
    return path


def serve(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], Path]:
    """An sshd of the test's own, and the key it lets in; skips where it cannot run."""
    folder.mkdir()
    host_key, key = new_key(folder / "host"), new_key(folder / "client")
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": host_key,
        "AuthorizedKeysFile": key.with_suffix(".pub"),
        "PidFile": folder / "pid",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    path = folder / "sshd_config"
    path.write_text("".join(f"{name} {value}\n" for name, value in config.items()))
    if os.geteuid() == 0:  # what the distribution's own unit makes before it starts it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (folder / "log").open("wb")
    daemon = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(path)], stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and daemon.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return daemon, key
        time.sleep(0.05)
    daemon.kill()
    daemon.wait()
    pytest.skip(f"sshd does not run here: {(folder / 'log').read_text().strip()[-200:]}")


@pytest.fixture
def open_over_ssh(tmp_path: Path) -> Iterator[OpenOverSsh]:
    """Open the console through ssh; the daemon and all under it are gone at the end."""
    for name in ("models", "none"):
        (tmp_path / name).mkdir(exist_ok=True)
    port = free_port()
    daemon, key = serve(tmp_path / "sshd", port)
    opened: list[Terminal] = []

    def start(*, size: tuple[int, int]) -> Terminal:
        options = {
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
        }
        named = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        login = f"{getpass.getuser()}@127.0.0.1"
        client = ("ssh", "-tt", "-F", "/dev/null", "-p", str(port), "-i", str(key), *named, login)
        there = {k: v for k, v in surroundings(tmp_path).items() if k != "TERM"}
        words = [f"{name}={value}" for name, value in there.items()]
        program = [sys.executable, "-m", "console"]
        remote = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(['env', *words, *program])}"  # noqa: PTH109
        terminal = Terminal(surroundings(tmp_path), size, [remote], client)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()
    for child in psutil.Process(daemon.pid).children(recursive=True):
        child.terminate()
    daemon.terminate()
    daemon.wait(20)


def far_side(tmp_path: Path) -> list[psutil.Process]:
    """The console behind the ssh connection and its workers."""
    console = psutil.Process(json.loads((tmp_path / "home" / "engine.json").read_text())["pid"])
    return [console, *console.children(recursive=True)]


def test_a_small_window_and_who_sits_behind_it(
    open_over_ssh: OpenOverSsh, simulate: Simulate
) -> None:
    simulate("good")
    terminal = open_over_ssh(size=(80, 24))
    shown = terminal.wait_for("good", "unloaded", "l load")
    assert all(len(line) <= 80 for line in shown.split("\n"))
    assert "Quarantine" not in shown, "80 columns have no room for the right side"
    assert not any(sequence in terminal.received for sequence in MOUSE_ON)
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_for("routable")
    terminal.send("L")
    terminal.wait_for(f"{getpass.getuser()}@127.0.0.1")
    terminal.send("\x1bq")
    terminal.wait_for("Stop the engine and leave?")
    time.sleep(0.3)  # a dialog is deaf to keys typed ahead for 0.2 s
    terminal.send("y")
    assert terminal.wait_for_end() == 0


def test_a_window_that_changes(open_over_ssh: OpenOverSsh, simulate: Simulate) -> None:
    simulate("good")
    terminal = open_over_ssh(size=(80, 24))
    terminal.wait_for("good", "unloaded")
    terminal.resize(120, 36)
    terminal.wait_for("Canary", "Quarantine", "good")
    terminal.resize(50, 12)
    terminal.wait_for("needs 60x16, this is 50x12")
    terminal.resize(80, 24)
    terminal.wait_until(lambda s: "good" in s and "Quarantine" not in s, "the small dashboard")


def test_a_line_cut_under_a_chat_leaves_the_engine_and_the_next_one_attaches(
    open_over_ssh: OpenOverSsh, simulate: Simulate, tmp_path: Path
) -> None:
    simulate("good", tokens_per_second=50, say=[" word"])
    terminal = open_over_ssh(size=(80, 24))
    terminal.wait_for("good", "unloaded")
    terminal.send("l")
    terminal.wait_for("Load", "admitted")
    terminal.send("\r")
    terminal.wait_for("routable")
    terminal.send("c")
    terminal.wait_for("Chat")
    terminal.send("talk\r")
    terminal.wait_for("word word")
    processes = far_side(tmp_path)
    assert len(processes) >= 2
    os.kill(terminal.process.pid, signal.SIGKILL)
    again = open_over_ssh(size=(80, 24))
    again.wait_for("attached to 127.0.0.1:", "routable")
    assert not any(gone(process) for process in processes)
    again.send("L")
    again.wait_for("the screen went, its terminal is gone")
    again.send("\x1bc")
    again.wait_for("Chat")
    again.send("more\r")
    again.wait_for("word word")
    again.send("\x1b")
    again.wait_for("cancelled")
    processes[0].terminate()
    assert all_gone(processes, GONE_S)
    home = tmp_path / "home"
    assert not json.loads((home / "state.json").read_text())["intents"]
    rows = json.loads((home / "compatibility-registry.json").read_text())
    assert [row["outcome"] for row in rows] == ["pass"]
    kinds = [json.loads(line)["kind"] for line in (home / "events.jsonl").read_text().splitlines()]
    assert "engine_stopping" in kinds
