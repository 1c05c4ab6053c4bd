"""Who computes and who waits."""

from dataclasses import dataclass

from engine.backends.base import StepEvent
from engine.backends.slots import Slots
from engine.workers.protocol import Generate, Progress


@dataclass(eq=False)
class Asked:
    request: Generate


def four(most: int) -> tuple[Slots[Asked], list[Asked]]:
    slots: Slots[Asked] = Slots(most, now=100.0)
    asked = [Asked(Generate(id=name, prompt="x")) for name in "abcd"]
    slots.waiting.extend(asked)
    return slots, asked


def test_they_are_admitted_in_order_while_there_are_slots() -> None:
    slots, (a, b, c, d) = four(2)
    assert [slots.first, slots.admit(), slots.first, slots.admit()] == [a, a, b, b]
    assert [slots.first] == [None]
    slots.leave(a)
    slots.leave(d)
    assert [slots.first] == [c]
    assert list(slots) == [b, c]
    assert len(slots) == 2


def test_a_cancel_is_told_once_wherever_its_request_is() -> None:
    slots, (a, _, c, _) = four(1)
    slots.admit()
    for name in ("c", "a", "c", "unknown"):
        slots.cancel(name)
    assert slots.take_cancelled() == [c, a]
    assert slots.take_cancelled() == []


def test_those_who_wait_say_so_once_a_second() -> None:
    slots, _ = four(3)
    for _ in range(3):
        slots.admit()
    events: list[StepEvent] = []
    for now in (100.5, 101.0, 101.5, 102.25):
        slots.report_waiting(now, events)
    assert events == [Progress(id="d", stage="queued")] * 2
