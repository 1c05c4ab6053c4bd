"""What one rank takes of its parent's frames, with the other ranks played by a table."""

import socket
from collections.abc import Iterator

import pytest

from engine.workers.protocol import (
    Cancel,
    Decoder,
    Delta,
    Finished,
    FromWorker,
    Heartbeat,
    Probed,
    Shutdown,
    Stats,
    ToWorker,
    encode,
    parse_from_worker,
)
from engine.workers.rank import OutOfStep, RankChannel

FRAMES = [Cancel(id=name) for name in "abc"]


class Ring:
    """The other ranks: what rank 0 has, and whether they say the same."""

    def __init__(self, leads: int = 0) -> None:
        self.joined = True
        self.leads = leads
        self.account: int | None = None
        self.met: list[list[int]] = []

    def gather(self, numbers: list[int]) -> list[list[int]]:
        self.met.append(numbers)
        return [[self.leads, numbers[1] if self.account is None else self.account], numbers]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    parent, child = socket.socketpair()
    parent.settimeout(10)
    yield parent, child
    parent.close()
    child.close()


def tell(parent: socket.socket, *frames: ToWorker) -> None:
    parent.sendall(b"".join(encode(frame) for frame in frames))


def heard(parent: socket.socket) -> list[FromWorker]:
    return [parse_from_worker(body) for body in Decoder().feed(parent.recv(65536))]


def test_as_many_frames_are_taken_as_rank_0_has(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ring = Ring(leads=1)
    channel = RankChannel(ends[1], 1, ring)
    tell(ends[0], *FRAMES)
    assert channel.receive(5.0) == FRAMES[:1]
    ring.leads = 2
    assert channel.receive(None) == FRAMES[1:]
    assert [count for count, _ in ring.met] == [3, 2]


def test_what_rank_0_has_already_is_waited_for(ends: tuple[socket.socket, socket.socket]) -> None:
    ring = Ring(leads=2)

    class Late(Ring):
        def gather(self, numbers: list[int]) -> list[list[int]]:
            tell(ends[0], FRAMES[1])  # arrives only once the ranks have met
            return ring.gather(numbers)

    channel = RankChannel(ends[1], 1, Late())
    tell(ends[0], FRAMES[0])
    assert channel.receive(5.0) == FRAMES[:2]


def test_an_idle_rank_waits_on_its_socket_and_meets_nobody(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ring = Ring()
    channel = RankChannel(ends[1], 1, ring)
    assert channel.receive(0.0) == []
    assert ring.met == []
    assert channel.receive(None) == []  # a busy one meets before every step
    assert len(ring.met) == 1


def test_before_the_load_there_is_nobody_to_meet_and_an_end_needs_no_meeting(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ring = Ring()
    ring.joined = False
    channel = RankChannel(ends[1], 1, ring)
    tell(ends[0], FRAMES[0])
    assert channel.receive(5.0) == FRAMES[:1]
    ring.joined = True
    tell(ends[0], FRAMES[1], Shutdown())
    assert channel.receive(5.0) == [Shutdown()]
    assert ring.met == []


def test_only_rank_0_tells_of_requests(ends: tuple[socket.socket, socket.socket]) -> None:
    said: list[FromWorker] = [
        Delta(id="a", text="so"),
        Stats(memory_bytes=1, active=0, queued=0),
        Probed(id="b", name="logits", ok=True),
        Heartbeat(),
    ]
    RankChannel(ends[1], 1, None).send(said)
    assert heard(ends[0]) == [said[1], said[3]]
    RankChannel(ends[1], 0, None).send(said)
    assert heard(ends[0]) == said


def accounts(ends: tuple[socket.socket, socket.socket], *said: FromWorker) -> int:
    """The account of a rank that has said this."""
    ring = Ring()
    channel = RankChannel(ends[1], 1, ring)
    channel.send(said)
    channel.receive(None)
    return ring.met[0][1]


def test_ranks_that_say_different_things_of_a_request_go_no_further(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    end = Finished(id="a", reason="stop", prompt_tokens=1, completion_tokens=1)
    same = accounts(ends, Delta(id="a", text="so"), end)
    # By the clock, or by a figure's last digit, ranks may differ.
    free = (Heartbeat(active=2), Stats(memory_bytes=9, active=1, queued=0))
    assert accounts(ends, Delta(id="a", text="so"), *free, end) == same
    assert accounts(ends, Delta(id="a", text="no"), end) != same
    ring = Ring()
    ring.account = same
    channel = RankChannel(ends[1], 1, ring)
    channel.send([Delta(id="a", text="no"), end])
    with pytest.raises(OutOfStep):
        channel.receive(None)
