"""Decode throughput of the MLX starter through the API: one stream against raw
``mlx_lm.stream_generate``, four against ``mlx_lm.server``.

Run with ``python -m tests.benchmarks.mlx_decode``. Bars: ≥ 0.97 × and ≥ 1.0 ×. Everybody loads the
same folder in a process of its own and gets the same prompts by turns: greedy, no two beginning
alike, so that no prompt is in anybody's cache.

MLX computes some eight tokens a second on a CPU, prompts included, so prompts and answers are
short here.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine import Backend
from tests.benchmarks.load_client import Round, ask_all
from tests.benchmarks.own_server import serving
from tests.benchmarks.peer import Peer, free_port
from tests.benchmarks.raw_mlx import raw_mlx
from tests.benchmarks.report import Report, at_least, at_most, counted
from tests.benchmarks.starter_run import STARTERS

TAKES_S = 300
MODEL = STARTERS[Backend.MLX]
ROUNDS = {1: 6, 4: 3}
"""How many of each number of streams."""
TOKENS = 24
CONTEXT = 512
RAW, SERVER = "stream_generate", "mlx_lm.server"
BARS = {RAW: 0.97, SERVER: 1.0}
NAMES = (
    *("Anna", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Henry", "Irene", "James"),
    *("Karla", "Louis", "Maria", "Nina", "Oscar", "Paula", "Robert", "Sarah", "Thomas", "Victor"),
)

Ask = Callable[[Sequence[str], int], Awaitable[Round]]


def prompts(first: int, streams: int) -> list[str]:
    """Prompts of about equal length that share no beginning with those of another ``first``, and
    whose answers do not end by themselves within ``TOKENS``."""
    return [
        f"{NAMES[at % len(NAMES)]} and {at} friends were lost in a forest at night. They walked on"
        for at in range(first, first + streams)
    ]


@asynccontextmanager
async def mlx_server(folder: Path) -> AsyncIterator[Peer]:
    """mlx-lm's own server on a model folder, with the settings it comes with."""
    port = free_port()
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder), "--port"]
    peer = await Peer.start([*command, str(port)], port, "/health")
    try:
        yield peer
    finally:
        peer.stop()


async def turns(asked: dict[str, Ask], streams: int) -> dict[str, list[Round]]:
    """Every side's rounds of so many streams; who begins changes from round to round."""
    rounds: dict[str, list[Round]] = {name: [] for name in asked}
    for ask in asked.values():
        await ask(prompts(100 * streams - 1, 1), 2)  # the first use of each is slower
    for number in range(ROUNDS[streams]):
        order = list(asked) if number % 2 else list(reversed(asked))
        for name in order:
            one = await asked[name](prompts((100 + number) * streams, streams), TOKENS)
            if one.tokens != TOKENS * streams:
                raise SystemExit(f"{name}: {one.tokens} tokens, {TOKENS * streams} expected")
            rounds[name].append(one)
    return rounds


async def measure() -> dict[str, dict[str, list[Round]]]:
    """Ours and the peer's rounds, by the peer."""
    async with serving(MODEL, slots=max(ROUNDS), context=CONTEXT) as ours:

        async def ask_ours(asked: Sequence[str], tokens: int) -> Round:
            return await ask_all(ours.port, MODEL, asked, tokens)

        async with raw_mlx(ours.path) as raw:

            async def ask_raw(asked: Sequence[str], tokens: int) -> Round:
                return await raw.ask(asked[0], tokens)

            alone = await turns({MODEL: ask_ours, RAW: ask_raw}, 1)
        async with mlx_server(ours.path) as server:

            async def ask_server(asked: Sequence[str], tokens: int) -> Round:
                return await ask_all(server.port, "default_model", asked, tokens)

            beside = await turns({MODEL: ask_ours, SERVER: ask_server}, max(ROUNDS))
    return {RAW: alone, SERVER: beside}


def tell(report: Report, found: dict[str, dict[str, list[Round]]]) -> None:
    """Every figure and ratio."""
    for peer, rounds in found.items():
        ours, theirs = rounds[MODEL], rounds[peer]
        streams = len(ours[0].first_s)
        what = counted(streams, "stream")
        report.tell(
            what,
            [one.tokens_per_second for one in ours],
            "tok/s",
            [one.tokens_per_second for one in theirs],
            peer,
            bar=at_least(BARS[peer]),
        )
        report.tell(
            f"{what}, first token",
            [max(one.first_s) for one in ours],
            "s",
            [max(one.first_s) for one in theirs],
            peer,
        )
        report.tell(f"{what}, interrupted", sum(one.broken for one in ours), bar=at_most(0))


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    tell(report, asyncio.run(measure()))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
