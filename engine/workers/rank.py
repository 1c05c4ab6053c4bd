"""A rank's end of the socket to its parent: the frames it takes at each step are those all take.

The parent tells every rank the same frames, but they arrive at different moments. A request that
joined one step earlier on one rank than on another would have the ranks compute different things,
and each would wait for ever for what the other never sends. So before each step the ranks meet and
take as many frames as the first of them has. While nothing is computed each waits on its own
socket and none spins.
"""

import collections
import socket
import zlib
from collections.abc import Iterable
from typing import Protocol

from engine.workers.channel import Channel
from engine.workers.protocol import (
    Delta,
    Failed,
    Finished,
    FromWorker,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    Probed,
    Progress,
    Shutdown,
    Started,
    Stats,
    ToWorker,
)

_OF_EVERY_RANK = (Hello, Loaded, Heartbeat, Stats)
_PATIENCE_S = 1.0


class OutOfStep(Exception):
    """The ranks have not computed the same: nothing they say later can be trusted."""


class Meeting(Protocol):
    """Where the ranks of a gang tell each other numbers."""

    @property
    def joined(self) -> bool:
        """Whether they are connected, which they are from their load on."""
        ...

    def gather(self, numbers: list[int]) -> list[list[int]]:
        """Tell all of them, and wait for theirs: one row for each rank, in order."""
        ...


class RankChannel(Channel):
    """Frames over a connected stream socket, for one of several ranks.

    Args:
        rank: Which one. Only rank 0 tells the parent of requests.
        meeting: Where they meet before each step; None for ranks that need not be in step.
    """

    def __init__(self, connection: socket.socket, rank: int, meeting: Meeting | None) -> None:
        super().__init__(connection)
        self._rank = rank
        self._meeting = meeting
        self._waiting: collections.deque[ToWorker] = collections.deque()
        self._account = 0
        """A checksum over all that was said of requests: equal on ranks that are in step."""

    def receive(self, patience_s: float | None) -> list[ToWorker]:
        """The frames of this step, the same on every rank.

        Raises:
            ChannelClosed: the parent is gone.
            ProtocolError: it sent something that is no frame.
            OutOfStep: the ranks have said different things of a request.
        """
        if self._meeting is None:
            return self._arrived(patience_s)
        self._waiting.extend(self._arrived(0.0 if self._waiting else patience_s))
        ending: list[ToWorker] = [frame for frame in self._waiting if isinstance(frame, Shutdown)]
        if ending:
            return ending
        if not self._meeting.joined:
            return self._take(len(self._waiting))
        if patience_s is not None and not self._waiting:
            return []
        rows = self._meeting.gather([len(self._waiting), self._account])
        if len({account for _, account in rows}) > 1:
            raise OutOfStep(f"the ranks are out of step: {[account for _, account in rows]}")
        count = rows[0][0]
        while len(self._waiting) < count:  # told to all of us, and on its way
            self._waiting.extend(self._arrived(_PATIENCE_S))
        return self._take(count)

    def _arrived(self, patience_s: float | None) -> list[ToWorker]:
        """What the parent told all ranks; of a load, what is this one's."""
        frames = super().receive(patience_s)
        return [self._placed(frame) if isinstance(frame, Load) else frame for frame in frames]

    def _placed(self, load: Load) -> Load:
        if not load.places:
            return load
        path, state_dir = load.places[self._rank]
        return load.model_copy(update={"path": path, "state_dir": state_dir})

    def _take(self, count: int) -> list[ToWorker]:
        return [self._waiting.popleft() for _ in range(count)]

    def send(self, frames: Iterable[FromWorker]) -> None:
        """Send frames in one write; of requests only those of rank 0 reach the parent.

        Raises:
            ChannelClosed: the parent is gone.
        """
        told = list(frames)
        for frame in told:
            self._account = zlib.crc32(_gist(frame), self._account)
        if self._rank:
            told = [frame for frame in told if _of_every_rank(frame)]
        if told:
            super().send(told)


def _of_every_rank(frame: FromWorker) -> bool:
    load = isinstance(frame, Failed | Progress) and frame.id is None
    return load or isinstance(frame, _OF_EVERY_RANK)


def _gist(frame: FromWorker) -> bytes:
    """What must be the same on every rank; figures may differ in their last digit."""
    match frame:
        case Started():
            return f"s {frame.id} {frame.prompt_tokens}".encode()
        case Delta():
            return f"d {frame.id} {frame.tokens} {frame.text}".encode("utf-8", "replace")
        case Finished():
            return f"f {frame.id} {frame.reason} {frame.completion_tokens}".encode()
        case Failed(id=str()):
            return f"x {frame.id} {frame.kind}".encode()
        case Probed():
            return f"p {frame.id} {frame.ok}".encode()
        case _:
            return b""
