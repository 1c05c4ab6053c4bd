"""Decode throughput of the GGUF starter through the API, against llama.cpp's own servers.

Run with ``python -m tests.benchmarks.decode``. Bars: ≥ 1.0 × ``llama-server`` at 1 and 8 streams,
≥ 3 × ``python -m llama_cpp.server`` at 8 with nothing interrupted. Cold prompts: no two begin
alike, and the peers are told to keep no prompt. Rounds take turns: a busy machine hurts all.

``llama-server`` builds from the source inside llama-cpp-python's own source package::

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36
    tar xf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B build -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_CURL=OFF -DCMAKE_BUILD_TYPE=Release
    cmake --build build --target llama-server -j2
    export LMX_BENCH_LLAMA_SERVER=build/bin/llama-server

``llama_cpp.server`` wants ``pip install starlette-context sse-starlette``. A peer that is not there
is left out and named.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine import Backend
from tests.benchmarks import llama_server
from tests.benchmarks.load_client import Round, ask_all
from tests.benchmarks.own_server import serving
from tests.benchmarks.peer import Peer, free_port
from tests.benchmarks.report import Report, at_least, at_most, counted
from tests.benchmarks.starter_run import STARTERS

TAKES_S = 240
STREAMS = (1, 8)
ROUNDS = 5
TOKENS = 96
WORDS = 24
CONTEXT = 4096
_NEXT_TO_NONE = 0.01
OURS, SERVER, PYTHON = "opta-lmx", llama_server.NAME, "llama_cpp.server"
BARS = {(SERVER, 1): 1.0, (SERVER, 8): 1.0, (PYTHON, 8): 3.0}


def prompts(round_number: int, streams: int) -> list[str]:
    """Prompts of equal length that share no beginning, in this round or another."""
    return [
        " ".join(f"{(round_number * 97 + stream * 31 + word) % 997}" for word in range(WORDS))
        + " Tell me a long story about these numbers."
        for stream in range(streams)
    ]


@asynccontextmanager
async def peers(model: Path, threads: int) -> AsyncIterator[dict[str, Peer]]:
    """The servers that are there, started and healthy."""
    found: dict[str, Peer] = {}
    slots = max(STREAMS)
    server = await llama_server.start(model, threads=threads, slots=slots, context=CONTEXT)
    if server is not None:
        found[SERVER] = server
    if all(importlib.util.find_spec(name) for name in ("starlette_context", "sse_starlette")):
        port = free_port()
        found[PYTHON] = await Peer.start(
            [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--port", str(port),
             "--n_threads", str(threads), "--n_ctx", str(CONTEXT)], port, "/v1/models"
        )  # fmt: skip
    try:
        yield found
    finally:
        for peer in found.values():
            peer.stop()


async def measure() -> dict[tuple[str, int], list[Round]]:
    """Every server's rounds, by its name and the number of streams."""
    threads = os.cpu_count() or 1
    rounds: dict[tuple[str, int], list[Round]] = {}
    settings = {"slots": max(STREAMS), "threads": threads, "context": CONTEXT}
    async with (
        serving(STARTERS[Backend.GGUF], **settings) as ours,
        peers(ours.path, threads) as others,
    ):
        ports = {OURS: ours.port} | {name: peer.port for name, peer in others.items()}
        for missing in {SERVER, PYTHON} - set(ports):
            print(f"{missing}: not here, left out")
        for port in ports.values():
            await ask_all(port, ours.model, prompts(0, 1), 8)
        for number in range(1, ROUNDS + 1):
            for streams in STREAMS:
                # Who is asked first changes: a machine that is getting busy hurts all alike.
                names = list(ports)[:: 1 if number % 2 else -1]
                for name in names:
                    asked = prompts(number * 10 + streams, streams)
                    one = await ask_all(ports[name], ours.model, asked, TOKENS)
                    rounds.setdefault((name, streams), []).append(one)
    return rounds


def tell(report: Report, rounds: dict[tuple[str, int], list[Round]]) -> None:
    """Every figure and ratio."""
    for streams in STREAMS:
        asked = counted(streams, "stream")
        ours = [one.tokens_per_second for one in rounds[OURS, streams]]
        for (name, count), theirs in rounds.items():
            if count != streams:
                continue
            firsts = [first * 1000 for one in theirs for first in one.first_s]
            broken = sum(one.broken for one in theirs)
            if name == OURS:
                report.tell(asked, ours, "tok/s")
                report.tell(f"{asked}, interrupted", broken, bar=at_most(0))
            else:
                # A round interrupted before any token makes no ratio: it is next to none.
                rates = [max(one.tokens_per_second, _NEXT_TO_NONE) for one in theirs]
                bar = BARS.get((name, streams))
                what = f"{asked} beside {name}"
                least = at_least(bar) if bar else None
                report.tell(what, ours, "tok/s", rates, name, bar=least)
                print(f"  {name}: {broken} interrupted")
            report.tell(f"{asked}, {name}, first token", firsts, "ms")


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    tell(report, asyncio.run(measure()))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
