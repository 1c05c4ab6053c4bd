"""Where the API answers: a host and a port, and whether only this machine can reach it."""

import ipaddress
from typing import NamedTuple

DEFAULT_API = "127.0.0.1:1234"
"""LM Studio's port too: its clients need no new address."""
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_HIGHEST = 65_535


class Address(NamedTuple):
    """A host and a port; port 0 is any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def wildcard(self) -> bool:
        """Whether it means every address of this machine."""
        return (ip := as_ip(self.host)) is not None and ip.is_unspecified

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[::1]:PORT``, ``:PORT`` or a port alone; no host is 127.0.0.1.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > _HIGHEST or (colon and any(c.isspace() for c in host)):
        raise ValueError(f"{text!r} is no HOST:PORT")
    return Address(host, int(port))


def as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The numeric address a text is, or None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine, as seen from itself."""
    ip = as_ip(host)
    return ip.is_loopback if ip is not None else host.lower().rstrip(".") in _LOOPBACK_NAMES
