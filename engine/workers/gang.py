"""Several processes that hold one model between them, started, reached and ended as one worker.

Every rank is told everything the parent says, in the same order; what they say is made into one
stream (:mod:`engine.workers.chorus`). When one of them ends, all end, and the one that ended first
gives the whole its exit status, its last words and the blame.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from engine.types import Backend
from engine.workers.chorus import Chorus
from engine.workers.placement import Connection, Ending, Placement, Seat, Spawn, SpawnError
from engine.workers.ports import Ports
from engine.workers.protocol import Decoder, ProtocolError

_LOST_PEER = b"[ring] connection to a peer was lost"
"""How MLX ends a rank whose neighbour has gone: it is never the one that began."""
_QUIET_S = 2.5
"""A rank last heard so much earlier than another is the one that hangs; they speak every second."""


class Kept(Protocol):
    """What the ranks of a gang need as long as they live."""

    def close(self) -> None:
        """Let go of it."""
        ...


class Gang:
    """The ranks of one model as one :class:`Connection`.

    Args:
        ranks: One connection for each, in order.
        ports: What is kept until the end, such as the ports they meet at.
    """

    def __init__(self, ranks: Sequence[Connection], ports: Kept | None = None) -> None:
        self.pid = ranks[0].pid
        self.host = ranks[0].host
        self._ranks = tuple(ranks)
        self._ports = ports
        self._chorus = Chorus(len(ranks))
        self._news: asyncio.Queue[bytes] = asyncio.Queue()
        self._heard = dict.fromkeys(range(len(ranks)), time.monotonic())
        self._condemned: tuple[int, str] | None = None
        self._torn: set[int] = set()
        self._killed = False
        self._speaker = 0
        """Whose last words are those of the whole."""
        self._end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._listen(rank), name=f"rank-{ranks[rank].pid}")
            for rank in range(len(ranks))
        ]
        self._tasks.append(asyncio.create_task(self._watch(), name=f"gang-{self.pid}"))

    # -- engine.workers.placement.Connection ----------------------------------------------------

    @property
    def cut(self) -> bool:
        """Whether the way to any of them is cut."""
        return any(rank.cut for rank in self._ranks)

    async def receive(self) -> bytes:
        """The next bytes of the whole; empty once one rank has closed its side."""
        return await self._news.get()

    def send(self, data: bytes) -> None:
        """Tell every rank."""
        for rank in self._ranks:
            rank.send(data)

    def kill(self, signal_number: int) -> None:
        """Send a signal to every rank."""
        self._killed = True
        for rank in self._ranks:
            rank.kill(signal_number)

    async def wait(self) -> Ending:
        """Wait until none is left; the end of the one that ended first."""
        return await asyncio.shield(self._end)

    async def stderr_tail(self) -> bytes:
        """The last words of the rank that ended first, or that could not load the model."""
        if self._end.done() or self._chorus.failed is None:
            return await self._ranks[self._speaker].stderr_tail()
        return await self._ranks[self._chorus.failed].stderr_tail()

    def hang_up(self) -> None:
        """Read no further than what has arrived, from any of them."""
        for rank in self._ranks:
            rank.hang_up()

    def close(self) -> None:
        """Let go of every rank, which each takes as its order to end."""
        for task in self._tasks:
            task.cancel()
        for rank in self._ranks:
            rank.close()
        if self._ports is not None:
            self._ports.close()

    # -- how it works ---------------------------------------------------------------------------

    async def _listen(self, rank: int) -> None:
        decoder = Decoder()
        try:
            while data := await self._ranks[rank].receive():
                self._heard[rank] = time.monotonic()
                heard = (self._chorus.hear(rank, body) for body in decoder.feed(data))
                if said := b"".join(heard):
                    self._news.put_nowait(said)
            if decoder.torn:
                self._torn.add(rank)
        except ProtocolError as error:
            self._condemned = (rank, f"torn frame: {error}")
            self._kill_rest(())
        self._news.put_nowait(b"")

    def _kill_rest(self, ended: Sequence[int]) -> None:
        for rank, connection in enumerate(self._ranks):
            if rank not in ended:
                connection.kill(signal.SIGKILL)

    async def _watch(self) -> None:
        ends = [asyncio.ensure_future(rank.wait()) for rank in self._ranks]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # two that ended at once are both told by now
            first = [rank for rank, end in enumerate(ends) if end.done()]
            self._kill_rest(first)
            await asyncio.wait(ends)
        finally:
            for end in ends:
                end.cancel()
        part = await self._culprit(first, [end.result() for end in ends])
        self._speaker = part or 0
        reason = self._condemned[1] if self._condemned else ""
        ending = ends[self._speaker].result()
        if self._speaker in self._torn and ending.status >= 0:
            reason = reason or "torn frame: the connection ended inside a frame"
        seat = "" if part is None else Seat(part, len(self._ranks)).name
        if seat and len({rank.host for rank in self._ranks}) > 1:
            seat += f" on {self._ranks[self._speaker].host or 'this host'}"
        self._end.set_result(replace(ending, part=seat, reason=reason))

    async def _culprit(self, first: Sequence[int], endings: Sequence[Ending]) -> int | None:
        """Who began it; None where the whole was ended from outside.

        As a rule one of those that ended first. Of a rank on another host the news comes later
        than that of its neighbours here, who have only lost it.
        """
        if self._condemned is not None:
            return self._condemned[0]
        if self._killed:
            return self._quietest()
        for rank in first:
            if _LOST_PEER not in await self._ranks[rank].stderr_tail():
                return rank
        killed = {n for n, ending in enumerate(endings) if ending.status == -signal.SIGKILL}
        for rank in sorted(set(range(len(endings))) - set(first), key=lambda n: n in killed):
            if rank in killed and not endings[rank].memory_killer:
                continue  # as all are that were left
            if _LOST_PEER not in await self._ranks[rank].stderr_tail():
                return rank
        return first[0]

    def _quietest(self) -> int | None:
        """The one rank that fell silent while another still spoke."""
        rank = min(self._heard, key=lambda one: self._heard[one])
        lag = max(self._heard.values()) - self._heard[rank]
        return rank if lag > _QUIET_S else None


class GangPlacement:
    """Starts a worker of several ranks as so many processes of the placement below; a worker of
    one is simply its."""

    def __init__(self, below: Placement) -> None:
        self._below = below

    async def start(self, spawn: Spawn) -> Connection:
        """Start one process, or all of a gang's.

        Raises:
            SpawnError: one of them could not be started, or there is no port to meet at; none is
                left then.
        """
        if spawn.ranks == 1:
            return await self._below.start(spawn)
        try:
            # Simulated ranks do not talk to each other.
            ports = None if spawn.backend is Backend.SIMULATED else Ports(spawn.ranks)
        except OSError as error:
            raise SpawnError(f"no port for the ranks to meet at: {error}") from error
        ring = ports.addresses if ports else ()
        seats = (Seat(rank, spawn.ranks, ring) for rank in range(spawn.ranks))
        orders = ((self._below, replace(spawn, ranks=1, seat=seat)) for seat in seats)
        return await muster(orders, ports)


async def muster(orders: Iterable[tuple[Placement, Spawn]], kept: Kept | None) -> Gang:
    """Start the ranks of a gang, in order.

    Args:
        kept: Let go of at the gang's end, or here where one cannot be started.

    Raises:
        SpawnError: one of them could not be started; none is left then.
    """
    started: list[Connection] = []
    try:
        for placement, spawn in orders:
            started.append(await placement.start(spawn))
    except BaseException:
        await _dismiss(started)
        if kept is not None:
            kept.close()
        raise
    return Gang(started, kept)


async def _dismiss(started: Sequence[Connection]) -> None:
    for connection in started:
        connection.kill(signal.SIGKILL)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(connection.wait() for connection in started))
    for connection in started:
        connection.close()
