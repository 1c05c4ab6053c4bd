"""What several ranks say, as the one worker that the supervisor hears."""

import pytest

from engine.types import Backend
from engine.workers.chorus import Chorus
from engine.workers.protocol import (
    PROTOCOL,
    Decoder,
    Delta,
    Failed,
    FromWorker,
    Heartbeat,
    Hello,
    Loaded,
    Progress,
    ProtocolError,
    Stats,
    encode,
    parse_from_worker,
)


def hello(version: str = "mlx-lm 1") -> Hello:
    return Hello(protocol=PROTOCOL, pid=1, backend=Backend.MLX, backend_version=version)


def hear(chorus: Chorus, rank: int, frame: FromWorker) -> list[FromWorker]:
    """What comes of one rank's frame."""
    said = chorus.hear(rank, encode(frame)[4:])
    return [parse_from_worker(body) for body in Decoder().feed(said)]


def test_what_all_must_have_done_is_told_when_the_last_has() -> None:
    chorus = Chorus(3)
    loaded = Loaded(context=64, vocabulary=9, chat=True, memory_bytes=100)
    for frame, told in (
        (hello(), hello()),
        (loaded, loaded.model_copy(update={"memory_bytes": 300})),
        (Heartbeat(active=1), Heartbeat()),
        (Heartbeat(active=1), Heartbeat()),
    ):
        assert hear(chorus, 2, frame) == []
        assert hear(chorus, 0, frame) == []
        assert hear(chorus, 1, frame) == [told]


def test_one_silent_rank_makes_the_whole_silent() -> None:
    chorus = Chorus(2)
    assert [hear(chorus, 0, Heartbeat()) for _ in range(9)] == [[]] * 9


def test_the_first_rank_alone_speaks_of_requests() -> None:
    chorus = Chorus(2)
    for frame in (
        Delta(id="a", text="so"),
        Failed(id="a", kind="invalid", message="no"),
        Progress(id="a", stage="prefill", done=1, total=2),
    ):
        assert hear(chorus, 1, frame) == []
        assert hear(chorus, 0, frame) == [frame]


def test_a_load_is_as_far_as_the_slowest_at_the_same_stage() -> None:
    chorus = Chorus(3)

    def told(rank: int, fraction: float, stage: str = "loading") -> float | None:
        [frame] = hear(chorus, rank, Progress(stage=stage, fraction=fraction))
        assert isinstance(frame, Progress)
        return frame.fraction

    assert told(0, 0.5, "building") == 0.5
    assert told(1, 0.75) == 0.75
    assert told(0, 0.25) == 0.25
    assert told(2, 0.5) == 0.25
    assert told(0, 1.0) == 0.5


def test_the_first_failure_to_load_is_told_with_its_rank() -> None:
    chorus = Chorus(2)
    failed = Failed(kind="ValueError", message="Missing 3 parameters")
    [frame] = hear(chorus, 1, failed)
    assert isinstance(frame, Failed)
    assert frame.message == "rank 1 of 2: Missing 3 parameters"
    assert chorus.failed == 1
    assert hear(chorus, 0, failed) == []


def test_memory_is_the_sum() -> None:
    chorus = Chorus(2)
    assert hear(chorus, 0, Stats(memory_bytes=5, active=1, queued=2)) == []
    both = Stats(memory_bytes=12, active=1, queued=2)
    assert hear(chorus, 1, Stats(memory_bytes=7, active=0, queued=0)) == [both]


def test_ranks_of_two_versions_are_no_worker() -> None:
    chorus = Chorus(2)
    hear(chorus, 0, hello("mlx-lm 1"))
    with pytest.raises(ProtocolError, match="mlx-lm 1; mlx-lm 2"):
        hear(chorus, 1, hello("mlx-lm 2"))
