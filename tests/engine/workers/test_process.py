"""How a worker's bytes are read: as they are wanted, to their end, and no further."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from engine.workers.process import LocalProcess

TURNS = 50
"""Turns of the event loop after which whatever would be read by itself has been."""


@dataclass(slots=True)
class Pair:
    parent: LocalProcess
    worker: socket.socket

    def flood(self) -> int:
        """Send until the socket takes no more; tells how much."""
        sent = 0
        try:
            while True:
                sent += self.worker.send(b"x" * 65536)
        except BlockingIOError:
            return sent


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    stderr = asyncio.StreamReader()
    stderr.feed_eof()
    parent = LocalProcess(process, ours, stderr)
    yield Pair(parent, theirs)
    parent.kill(9)
    await parent.wait()
    parent.close()
    theirs.close()


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_bytes_come_in_order_whether_they_are_waited_for_or_wait(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.parent.receive())
    await turns()
    pair.worker.send(b"one")
    assert await waiting == b"one"
    pair.worker.send(b"two")
    await turns()
    assert await pair.parent.receive() == b"two"


async def test_what_nobody_waits_for_stays_in_the_socket(pair: Pair) -> None:
    flood = pair.flood()
    first = await pair.parent.receive()
    await turns()
    # Room for what was read is there again, and for no more.
    assert pair.flood() <= 2 * len(first) < flood + len(first)
    rest = 0
    pair.worker.close()
    while data := await pair.parent.receive():
        rest += len(data)
    assert rest >= flood - len(first)


async def test_the_end_is_told_again_to_whoever_asks_again(pair: Pair) -> None:
    pair.worker.send(b"last words")
    pair.parent.hang_up()
    pair.worker.close()
    said = b""
    while data := await pair.parent.receive():
        said += data
    assert said == b"last words"
    assert await pair.parent.receive() == b""
