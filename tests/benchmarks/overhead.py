"""What the engine and the API take of every token: streams of a simulated model that speaks 2,000
tokens a second, through the engine and through HTTP, beside the backend's own loop.

Run with ``python -m tests.benchmarks.overhead``. Prints tokens per second, their ratio to the loop
alone, and the parent's processor time per token; then its share of a core while one stream, and
eight together, speak 500 tokens a second: at that pace every token is a wake-up of its own. Bar:
less than 15 % of a core at 500 tokens/s, which is 300 µs a token. Over the API the client's own
share is in these figures: it runs in the same process.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from engine import ChatEnd, ChatOptions, ChatTurn, Engine, load_settings
from engine.address import Address
from engine.backends.simulated import SimulatedBackend
from engine.http.server import ApiServer
from engine.workers.protocol import Finished, Generate, Load, Sampling
from tests.benchmarks.load_client import ask_all
from tests.benchmarks.report import Report, at_most, counted

TAKES_S = 25
STREAMS = (1, 8, 32)
RATE = 2000
TOKENS = 1500
PACE = 500
SHARE = 15.0
BAR_US = SHARE / 100 / PACE * 1e6
SCRIPT = {"kind": "simulated", "load_seconds": 0, "context": 65536}
MODELS = {"fast": RATE, "paced-1": PACE, "paced-8": PACE / 8}
"""Tokens a second of each stream; of ``paced`` so many streams make 500 together."""
PACED_TOKENS = 1000


def alone(folder: Path, streams: int) -> float:
    """Tokens per second of the backend's own loop, without frames or a parent."""
    backend = SimulatedBackend(lambda _: None)
    backend.load(
        Load(model_id="fast", path=str(folder), context=65536, slots=streams), lambda *_: None
    )
    for number in range(streams):
        sampling = Sampling(max_tokens=TOKENS)
        backend.submit(Generate(id=f"r{number}", prompt="tell me", sampling=sampling))
    began, ended = time.perf_counter(), 0
    while ended < streams:
        ended += sum(isinstance(event, Finished) for event in backend.step())
    return streams * TOKENS / (time.perf_counter() - began)


async def through_engine(
    engine: Engine, streams: int, model: str = "fast", tokens: int = TOKENS
) -> tuple[float, float]:
    """Tokens per second through the engine's face, and the parent's seconds of processor each."""

    async def one() -> None:
        options = ChatOptions(max_tokens=tokens)
        stream = await engine.chat(model, (ChatTurn("user", "tell me"),), options, client="bench")
        async for item in stream:
            if isinstance(item, ChatEnd) and item.completion_tokens != tokens:
                raise SystemExit(f"an answer ended early: {item}")

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(streams)))
    total = streams * tokens
    return total / (time.perf_counter() - began), (time.process_time() - used) / total


async def through_api(
    port: int, streams: int, model: str = "fast", tokens: int = TOKENS
) -> tuple[float, float]:
    """The same over HTTP; the client's own share of the process is in it too."""
    used = time.process_time()
    result = await ask_all(port, model, ["tell me"] * streams, tokens)
    return result.tokens_per_second, (time.process_time() - used) / result.tokens


async def measure(report: Report, place: Path) -> None:
    """Tell every figure."""
    folder = place / "models" / "fast"
    for name, rate in MODELS.items():
        (place / "models" / name).mkdir(parents=True)
        script = json.dumps(SCRIPT | {"tokens_per_second": rate})
        (place / "models" / name / "simulated.json").write_text(script)
    settings = load_settings(
        folders=(place / "models",), lmstudio=place / "none", starter=False, slots=max(STREAMS)
    )
    engine = Engine(settings)
    await engine.start()
    server = ApiServer(engine, settings, Address("127.0.0.1", 0))
    await server.start()
    try:
        for name in MODELS:
            await engine.load(name, actor="benchmark@local", wait=True)
        for streams in STREAMS:
            loop = await asyncio.to_thread(alone, folder, streams)
            for name, (rate, cost) in (
                ("engine", await through_engine(engine, streams)),
                ("API", await through_api(server.address.port, streams)),
            ):
                what = f"{name}, {counted(streams, 'stream')}"
                report.tell(what, rate, "tok/s", loop, "the loop alone")
                told = f"{what}: the parent's time for a token"
                report.tell(told, cost * 1e6, "µs", bar=at_most(BAR_US))
        for model in ("paced-1", "paced-8"):
            streams = int(model[-1])
            tokens = PACED_TOKENS // streams
            for name, (rate, cost) in (
                ("engine", await through_engine(engine, streams, model, tokens)),
                ("API", await through_api(server.address.port, streams, model, tokens)),
            ):
                asked = f"{counted(streams, 'stream')} at {rate:.0f} tok/s in all"
                what = f"{name}, {asked}: the parent's share"
                report.tell(what, cost * rate * 100, "% of a core", bar=at_most(SHARE))
    finally:
        await server.stop()
        await engine.stop()


def main() -> int:
    """Measure, print, and return 1 when the bar is missed."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="lmx-overhead-") as folder:
        os.environ["LMX_HOME"] = str(Path(folder, "home"))
        os.environ["HF_HUB_CACHE"] = str(Path(folder, "none"))
        asyncio.run(measure(report, Path(folder)))
    return report.status


if __name__ == "__main__":
    sys.exit(main())
