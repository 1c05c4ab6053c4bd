"""Another program's server, started for a comparison and ended with it."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

PATIENCE_S = 120.0


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int
    ready_s: float
    """Seconds from its start until it called itself healthy."""

    @classmethod
    async def start(
        cls,
        command: list[str],
        port: int,
        health: str,
        environment: Mapping[str, str] | None = None,
    ) -> "Peer":
        """Start it and wait until ``health`` answers 200.

        Args:
            environment: What it sees; by default what this process does.

        Raises:
            SystemExit: it ended, or never became healthy.
        """
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        while time.perf_counter() - began < PATIENCE_S and process.poll() is None:
            if await _healthy(port, health):
                return cls(process, port, time.perf_counter() - began)
            await asyncio.sleep(0.01)
        process.kill()
        raise SystemExit(f"{command[0]} did not become healthy")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def _healthy(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
