"""Time to first token of a chat with a system prompt of 1,000 tokens: its first question (cold),
its second, the first of another chat with the same system prompt, and then the first chat's third
(all warm), against ``llama-server``, which keeps prompts too.

Run with ``python -m tests.benchmarks.prefix``. Every round has a system prompt of its own. Bars: a
warm first token in at most a quarter of a cold one's time, and cold and warm no later than
``llama-server``'s.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from engine import Backend
from tests.benchmarks import llama_server
from tests.benchmarks.load_client import listen
from tests.benchmarks.own_server import serving
from tests.benchmarks.report import Bar, Report, at_most, reported
from tests.benchmarks.starter_run import STARTERS

TAKES_S = 90
ROUNDS = 5
NUMBERS = 250
"""Each is four tokens of the starter's, with its comma."""
TOKENS = 16
CONTEXT = 4096
COLD, SECOND, OTHER = "first question", "second turn", "another chat"
AGAIN = "third turn, after another chat"
WARM = (SECOND, OTHER, AGAIN)
QUARTER = 0.25
"""Most of a cold first token's time that a warm one may take."""
OURS = "opta-lmx"

Round = Mapping[str, float]
"""Milliseconds to the first token, by the question."""


def system(number: int, numbers: int) -> dict[str, str]:
    """A system prompt of so many numbers that begins like no other round's."""
    told = ", ".join(str((number * 131 + n * 7) % 900 + 100) for n in range(numbers))
    return {"role": "system", "content": f"You know these numbers: {told}."}


def chats(number: int, numbers: int) -> dict[str, list[dict[str, str]]]:
    """What one round asks, in this order."""
    opening = [
        system(number, numbers),
        {"role": "user", "content": "Which is the largest of them?"},
    ]
    second = [
        *opening,
        {"role": "assistant", "content": "The largest of them is not hard to find."},
        {"role": "user", "content": "And the smallest?"},
    ]
    third = [
        *second,
        {"role": "assistant", "content": "That is not hard to find either."},
        {"role": "user", "content": "How many are there?"},
    ]
    other = [opening[0], {"role": "user", "content": "Tell me a story instead."}]
    return {COLD: opening, SECOND: second, OTHER: other, AGAIN: third}


async def first_tokens(
    port: int, model: str, number: int, *, numbers: int = NUMBERS, tokens: int = TOKENS
) -> Round:
    """One round."""
    found = {}
    for name, messages in chats(number, numbers).items():
        body: dict[str, Any] = {"model": model, "messages": messages}
        body |= {"max_tokens": tokens, "temperature": 0}
        found[name] = (await listen(port, "/v1/chat/completions", body))[0] * 1e3
    return found


async def turns(
    sides: Mapping[str, tuple[int, str]], rounds: int, **size: int
) -> dict[str, list[Round]]:
    """Every side's rounds; who begins changes from round to round.

    Args:
        sides: Port and model of each.
        size: As in ``first_tokens``.
    """
    found: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            port, model = sides[name]
            found[name].append(await first_tokens(port, model, number, **size))
    return found


def tell(
    report: Report, found: Mapping[str, list[Round]], peer: str, *, bar: Bar | None = None
) -> None:
    """What a warm one takes of a cold one's time, and the peer's beside ours if it was there.

    Args:
        bar: On the ratio of ours to the peer's.
    """
    mine = {what: [one[what] for one in found[OURS]] for what in (COLD, *WARM)}
    for what in WARM:
        share = [warm / cold for warm, cold in zip(mine[what], mine[COLD], strict=True)]
        report.tell(f"{what}, share of a cold one", share, bar=at_most(QUARTER))
    if peer not in found:
        print(f"{peer}: not here, left out")
        return
    for what, ours in mine.items():
        theirs = [one[what] for one in found[peer]]
        report.tell(f"{what}, first token", ours, "ms", theirs, peer, bar=bar)


async def measure(report: Report) -> None:
    """Ask both sides in turn and tell."""
    threads = os.cpu_count() or 1
    settings = {"slots": 4, "threads": threads, "context": CONTEXT}
    async with (
        serving(STARTERS[Backend.GGUF], **settings) as ours,
        llama_server.beside(ours.path, **settings) as peer,
    ):
        sides = {OURS: (ours.port, ours.model)}
        if peer:
            sides[llama_server.NAME] = (peer.port, ours.model)
        tell(report, await turns(sides, ROUNDS), llama_server.NAME, bar=at_most(1.0))


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    return reported(measure)


if __name__ == "__main__":
    sys.exit(main())
