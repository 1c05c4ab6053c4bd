"""``lmx service print``: a unit that runs ``lmx serve`` from boot on, for systemd or launchd."""

import argparse
import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.answer import DONE, tell

if TYPE_CHECKING:
    from engine import Settings

LABEL = "org.opta-lmx.serve"
MARGIN_S = 15
"""Beyond the drain, for workers to end and their memory to come back, before anybody is killed."""
START_S = 300
"""A large catalog on a cold disk takes minutes to read."""
_SECRET = "_KEY"
_ELSEWHERE = ("HF_HOME", "HF_HUB_CACHE")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("service", help="run lmx serve from boot on")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    shown = verbs.add_parser("print", help="a unit for this machine's service manager, on stdout")
    shown.add_argument("manager", choices=("systemd", "launchd"))
    shown.add_argument(
        "--user", action="store_true", help="systemd: for your own service manager, without root"
    )
    shown.set_defaults(run=run)


def run(settings: "Settings", options: argparse.Namespace) -> int:
    """Print the unit; how to install it is told on stderr."""
    program, surroundings = program_now(), surroundings_now(settings.home, os.environ)
    stop_s = int(settings.deadlines.drain_s) + MARGIN_S
    if options.manager == "launchd":
        sys.stdout.write(launchd(program, surroundings, settings.home, stop_s))
        place = f"~/Library/LaunchAgents/{LABEL}.plist"
        tell(f"save it as {place}, then: launchctl bootstrap gui/$(id -u) {place}")
        return DONE
    user = None if options.user else getpass.getuser()
    sys.stdout.write(systemd(program, surroundings, stop_s, user=user))
    if options.user:
        tell("save it as ~/.config/systemd/user/lmx.service, then:")
        tell("systemctl --user enable --now lmx && loginctl enable-linger")
    else:
        tell("save it as /etc/systemd/system/lmx.service, then: systemctl enable --now lmx")
    return DONE


def program_now() -> list[str]:
    """The program as it runs here: the script beside this interpreter, or the interpreter."""
    # Symlinks stay: a venv's python is one, and is known by where the link lies.
    here = Path(sys.executable)
    script = here.with_name("lmx")
    return [str(script)] if script.exists() else [str(here), "-m", "console"]


def surroundings_now(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What the program is told by the environment here, keys left out: they have files."""
    told = {
        name: value
        for name, value in environ.items()
        if (name.startswith("LMX_") and not name.endswith(_SECRET) and name != "LMX_URL")
        or name in _ELSEWHERE
    }
    return dict(sorted((told | {"LMX_HOME": str(home)}).items()))


def systemd(
    program: list[str], surroundings: Mapping[str, str], stop_s: int, *, user: str | None
) -> str:
    """A unit for systemd.

    Args:
        stop_s: Seconds from SIGTERM to SIGKILL.
        user: Who runs it; None for a unit of a user's own manager.
    """
    command = " ".join(_quoted(part) for part in (*program, "serve"))
    environment = "".join(f"Environment={_quoted(f'{n}={v}')}\n" for n, v in surroundings.items())
    who = f"User={user}\n" if user else ""
    target = "multi-user.target" if user else "default.target"
    return f"""[Unit]
Description=Opta-LMX: local language models behind an admission gate
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
{who}ExecStart={command}
{environment}UMask=0077
LimitCORE=0
NoNewPrivileges=yes
# Status 2 is a mistake in the settings: starting again would change nothing.
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
TimeoutStartSec={START_S}
# SIGTERM drains; whatever is left after that long is killed, workers included.
KillMode=mixed
TimeoutStopSec={stop_s}
# A worker that runs out of memory is the engine's business, and no reason to stop it.
OOMPolicy=continue
SyslogIdentifier=lmx

[Install]
WantedBy={target}
"""


def launchd(program: list[str], surroundings: Mapping[str, str], home: Path, stop_s: int) -> str:
    """A property list for launchd."""
    import plistlib

    log = str(home / "logs" / "serve.log")
    unit = {
        "Label": LABEL,
        "ProgramArguments": [*program, "serve"],
        "EnvironmentVariables": dict(surroundings),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": stop_s,
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return plistlib.dumps(unit, sort_keys=False).decode()


def _quoted(text: str) -> str:
    """A word as systemd reads it back: quoted, and free of its specifiers and variables."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'
