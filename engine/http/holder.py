"""Who answers at a port already."""

from contextlib import suppress
from typing import Any

import psutil

from engine.address import Address
from engine.http.trouble import ApiTrouble
from engine.text import clean_line


class AddressUnusable(ApiTrouble):
    """This machine cannot answer at an address; the message says why."""

    def __init__(self, address: Address, why: str) -> None:
        super().__init__(f"the API cannot answer at {address}: {clean_line(why)}")


class PortTaken(ApiTrouble):
    """Another process answers there; the message says which, as far as this user may know."""

    def __init__(self, address: Address, holder: str) -> None:
        super().__init__(
            f"the API cannot answer at {address}: the port is taken by {holder}; "
            "end it, or choose another with --api HOST:PORT"
        )


def holder_of(port: int) -> str:
    """The process that listens on a port of this machine, in words.

    Other users' processes, and every process on macOS without root, cannot be looked into.
    """
    pid = _listening(port)
    if pid is None:
        return "a process that this user may not look into"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except (psutil.Error, OSError):
        return f"process {pid}"
    return f"process {pid} ({clean_line(command, limit=120)})"


def _listening(port: int) -> int | None:
    with suppress(psutil.Error, OSError):
        for found in psutil.net_connections(kind="tcp"):
            if _listens(found, port):
                return found.pid
        return None
    for process in psutil.process_iter():  # macOS lets one look into one's own
        with suppress(psutil.Error, OSError):
            for own in process.net_connections(kind="tcp"):
                if _listens(own, port):
                    return process.pid
    return None


def _listens(found: Any, port: int) -> bool:
    # psutil gives an empty tuple where there is no address.
    return bool(found.status == psutil.CONN_LISTEN) and getattr(found.laddr, "port", None) == port
