"""Units that service managers take, and what they are told while the engine runs."""

import plistlib
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from console.cli import main
from console.cli.herald import Herald
from console.cli.service import launchd, program_now, surroundings_now, systemd

ODD = {"LMX_HOME": '/srv/o d"d/$x%h\\', "LMX_API": "127.0.0.1:1234"}


def test_the_surroundings_are_those_of_now_without_keys() -> None:
    told = surroundings_now(
        Path("/h"),
        {"LMX_API": "a:1", "LMX_ADMIN_KEY": "k", "LMX_URL": "u", "HF_HOME": "/hf", "PATH": "/bin"},
    )
    assert told == {"HF_HOME": "/hf", "LMX_API": "a:1", "LMX_HOME": "/h"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_takes_the_unit(user: str | None, tmp_path: Path) -> None:
    unit = tmp_path / "lmx.service"
    unit.write_text(systemd(program_now(), ODD, 45, user=user))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        check=False,  # it also looks at what else is installed
        capture_output=True,
        text=True,
    )
    mine = [line for line in done.stderr.splitlines() if "lmx.service" in line]
    assert not mine


def test_a_drain_is_given_its_time() -> None:
    unit = systemd(["/bin/lmx"], {"LMX_HOME": "/h"}, 45, user=None)
    for line in (
        "Type=notify",
        "KillMode=mixed",
        "TimeoutStopSec=45",
        "OOMPolicy=continue",
        'ExecStart="/bin/lmx" "serve"',
        'Environment="LMX_HOME=/h"',
    ):
        assert line in unit.splitlines()
    assert "User=" not in unit


def test_launchd_reads_the_list_back() -> None:
    told = plistlib.loads(launchd(["/bin/lmx"], ODD, Path("/h"), 45).encode())
    assert told["ProgramArguments"] == ["/bin/lmx", "serve"]
    assert told["EnvironmentVariables"] == ODD
    assert told["KeepAlive"] == {"SuccessfulExit": False}
    assert told["ExitTimeOut"] == 45
    assert told["StandardErrorPath"] == "/h/logs/serve.log"


@pytest.mark.parametrize("manager", ["systemd", "launchd"])
def test_the_command_prints_a_unit_and_nothing_else(
    manager: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    assert main(["service", "print", manager]) == 0
    out, err = capsys.readouterr()
    assert str(tmp_path) in out
    assert "save it as" in err
    assert "save it as" not in out


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_it(abstract: bool, tmp_path: Path) -> None:
    name = f"@lmx-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if abstract else name)
        channel.settimeout(10)
        environ = {"NOTIFY_SOCKET": name}
        herald = Herald(environ)
        assert not environ
        herald.ready("serving")
        assert channel.recv(1000) == b"READY=1\nSTATUS=serving"
        herald.stopping("draining")
        assert channel.recv(1000).startswith(b"STOPPING=1\n")


def test_nobody_listening_is_no_trouble() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "odd"}):
        Herald(environ).ready("x")
