"""The processes of a model that several hold, seen from outside."""

from collections.abc import Callable

import psutil

from engine import ChatEnd, ChatOptions, ChatStream, ChatTurn, Engine
from tests.process import command_of

TURNS = (ChatTurn("user", "one two"),)


def ranks() -> dict[int, psutil.Process]:
    """The processes of the one gang that runs, by rank."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process().children():
        line = command_of(process)
        if "--rank" in line:
            found[int(line[line.index("--rank") + 1])] = process
    return found


async def end_of(stream: ChatStream) -> ChatEnd:
    """Hear an answer out."""
    ends = [item async for item in stream if isinstance(item, ChatEnd)]
    return ends[-1]


async def ends_of(engine: Engine, model: str, at_first: Callable[[], None]) -> list[ChatEnd]:
    """Ask for a long answer, do something at its first word, and see how it ends."""
    options = ChatOptions(temperature=0.0, max_tokens=400)
    ends: list[ChatEnd] = []
    told = False
    async for item in await engine.chat(model, TURNS, options, client="t"):
        if isinstance(item, ChatEnd):
            ends.append(item)
        elif not told:
            told = True
            at_first()
    return ends
