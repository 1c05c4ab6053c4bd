"""How long running streams stand still while a prompt of 3,000 tokens joins them, against
``llama-server``.

Run with ``python -m tests.benchmarks.stall``. Four streams decode; each round tells the longest gap
between two tokens of any of them, once undisturbed and once with the prompt. Bars: the gap with it
stays below half a second (a chunk beside streams is sized to take 0.15 s, and a step is decoded
with it), and is no longer than ``llama-server``'s.
"""

import asyncio
import itertools
import os
import sys

from engine import Backend
from tests.benchmarks import llama_server
from tests.benchmarks.load_client import listen
from tests.benchmarks.own_server import serving
from tests.benchmarks.report import Report, at_most, reported
from tests.benchmarks.starter_run import STARTERS

TAKES_S = 240
ROUNDS = 3
STREAMS = 4
TOKENS = 120
NUMBERS = 750
"""Each is four tokens of the starter's, with its comma."""
CONTEXT = 8192
BEGUN = 0.3
"""Seconds after the streams were asked for until the long prompt is: they decode by then."""
OURS = "opta-lmx"
ALONE, JOINED = "longest gap, undisturbed", "longest gap, 3,000 tokens join"


def asked(model: str, prompt: str, tokens: int) -> dict[str, object]:
    """A greedy completion that nobody keeps."""
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "cache_prompt": False,
    }


async def longest_gap(port: int, model: str, number: int, *, joined: bool) -> float:
    """Milliseconds of the longest pause in any of the streams, after their first tokens."""
    streams = [
        asyncio.create_task(
            listen(port, "/v1/completions", asked(model, f"{number}, {stream}: A story.", TOKENS))
        )
        for stream in range(STREAMS)
    ]
    if joined:
        await asyncio.sleep(BEGUN)
        told = ", ".join(str((number * 131 + n * 7) % 900 + 100) for n in range(NUMBERS))
        await listen(port, "/v1/completions", asked(model, told, 1))
    gaps = []
    for heard in await asyncio.gather(*streams):
        gaps += [later - sooner for sooner, later in itertools.pairwise(heard)]
    return max(gaps, default=0.0) * 1e3


async def measure(report: Report) -> None:
    """Ask both sides in turn and tell."""
    threads = os.cpu_count() or 1
    settings = {"slots": STREAMS + 1, "threads": threads, "context": CONTEXT}
    async with (
        serving(STARTERS[Backend.GGUF], **settings) as ours,
        llama_server.beside(ours.path, **settings) as peer,
    ):
        ports = {OURS: ours.port} | ({llama_server.NAME: peer.port} if peer else {})
        gaps: dict[tuple[str, str], list[float]] = {}
        for number in range(ROUNDS):
            for what in (ALONE, JOINED):
                for name in list(ports)[:: 1 if number % 2 else -1]:
                    joined = what == JOINED
                    gap = await longest_gap(ports[name], ours.model, number, joined=joined)
                    gaps.setdefault((name, what), []).append(gap)
    report.tell(ALONE, gaps[OURS, ALONE], "ms")
    report.tell(JOINED, gaps[OURS, JOINED], "ms", bar=at_most(500))
    if not peer:
        print(f"{llama_server.NAME}: not here, left out")
        return
    for what in (ALONE, JOINED):
        theirs = gaps[llama_server.NAME, what]
        bar = at_most(1.0) if what == JOINED else None
        report.tell(what, gaps[OURS, what], "ms", theirs, llama_server.NAME, bar=bar)


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    return reported(measure)


if __name__ == "__main__":
    sys.exit(main())
