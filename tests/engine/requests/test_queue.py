"""The order in which waiting requests start."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.face import Lane
from engine.requests.queue import THROUGHPUT_SHARE, FairQueue

FAST, SLOW = Lane.INTERACTIVE, Lane.THROUGHPUT


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_a_client_with_many_requests_costs_another_one_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(5):
        queue.push(f"greedy-{number}", "greedy", FAST)
    queue.push("modest", "modest", FAST)
    assert drained(queue)[:3] == ["greedy-0", "modest", "greedy-1"]


def test_interactive_goes_first_and_throughput_does_not_starve() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(8):
        queue.push(f"slow-{number}", "batch", SLOW)
        queue.push(f"fast-{number}", "chat", FAST)
    order = drained(queue)
    assert order[0] == "fast-0"
    among_first = sum(item.startswith("slow") for item in order[: 2 * THROUGHPUT_SHARE])
    assert among_first == 2


def test_one_taken_out_is_not_started() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", "x", FAST)
    queue.push("b", "x", FAST)
    assert queue.remove("a", "x", FAST)
    assert not queue.remove("a", "x", FAST)
    assert drained(queue) == ["b"]
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([FAST, SLOW]))))
def test_each_starts_once_and_a_clients_own_keep_their_order(
    arrivals: list[tuple[str, Lane]],
) -> None:
    queue: FairQueue[tuple[str, Lane, int]] = FairQueue()
    for number, (client, lane) in enumerate(arrivals):
        queue.push((client, lane, number), client, lane)
    order = [queue.pop() for _ in range(len(queue))]
    assert Counter(order) == Counter((c, lane, n) for n, (c, lane) in enumerate(arrivals))
    for client in "abc":
        for lane in Lane:
            own = [n for c, line, n in order if (c, line) == (client, lane)]
            assert own == sorted(own)
