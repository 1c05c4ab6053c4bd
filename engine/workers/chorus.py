"""What the ranks of a gang say, made into what one worker says.

The first rank speaks for all. What every rank must have done is told once the last of them has:
the greeting, the load, and each heartbeat, so that one silent rank makes the whole gang silent.
"""

from collections.abc import Sized
from typing import TypeVar

from engine.workers.protocol import (
    Failed,
    Heartbeat,
    Hello,
    Loaded,
    Progress,
    ProtocolError,
    Stats,
    encode,
    framed,
    parse_from_worker,
)

Weighed = TypeVar("Weighed", Loaded, Stats)
_JOINT = tuple(
    b'{"type":"%s"' % name
    for name in (b"hello", b"progress", b"loaded", b"failed", b"heartbeat", b"stats")
)
"""How the frames begin that are not simply passed on; of a token's frame no more is read."""


class Chorus:
    """Makes one stream of frames of several. Not for more than one gang.

    Args:
        ranks: How many there are.
    """

    def __init__(self, ranks: int) -> None:
        self.failed: int | None = None
        """The first rank that said it cannot load the model."""
        self._ranks = ranks
        self._hellos: dict[int, Hello] = {}
        self._loaded: dict[int, Loaded] = {}
        self._progress: dict[int, Progress] = {}
        self._stats: dict[int, Stats] = {}
        self._beats: set[int] = set()

    def hear(self, rank: int, body: bytes) -> bytes:
        """What the parent is told of a frame's body, maybe nothing.

        Raises:
            ProtocolError: it is no frame, or the ranks are not of one kind.
        """
        if not body.startswith(_JOINT):
            return framed(body) if rank == 0 else b""
        match parse_from_worker(body):
            case Hello() as hello:
                return self._greet(rank, hello)
            case Progress(id=None) as progress:
                return self._advance(rank, progress)
            case Loaded() as loaded:
                return self._sum(self._loaded, rank, loaded)
            case Failed(id=None) as failed:
                return self._fail(rank, failed)
            case Heartbeat():
                self._beats.add(rank)
                if not self._whole(self._beats):
                    return b""
                self._beats.clear()
                return encode(Heartbeat())
            case Stats() as stats:
                return self._sum(self._stats, rank, stats)
            case frame:
                return encode(frame) if rank == 0 else b""

    def _whole(self, heard: Sized) -> bool:
        return len(heard) == self._ranks

    def _greet(self, rank: int, hello: Hello) -> bytes:
        self._hellos[rank] = hello
        if not self._whole(self._hellos):
            return b""
        versions = {found.backend_version for found in self._hellos.values()}
        if len(versions) > 1:
            raise ProtocolError(f"the ranks run different versions: {'; '.join(sorted(versions))}")
        return encode(self._hellos[0])

    def _advance(self, rank: int, progress: Progress) -> bytes:
        """The slowest of those that are at the same stage."""
        self._progress[rank] = progress
        beside = [p.fraction for p in self._progress.values() if p.stage == progress.stage]
        known = [fraction for fraction in beside if fraction is not None]
        slowest = min(known) if len(known) == len(beside) else None
        return encode(progress.model_copy(update={"fraction": slowest}))

    def _sum(self, heard: dict[int, Weighed], rank: int, frame: Weighed) -> bytes:
        """The first rank's words, with the memory of all."""
        heard[rank] = frame
        if not self._whole(heard):
            return b""
        held = sum(one.memory_bytes for one in heard.values())
        return encode(heard[0].model_copy(update={"memory_bytes": held}))

    def _fail(self, rank: int, failed: Failed) -> bytes:
        if self.failed is not None:
            return b""
        self.failed = rank
        words = f"rank {rank} of {self._ranks}: {failed.message}"
        return encode(failed.model_copy(update={"message": words}))
