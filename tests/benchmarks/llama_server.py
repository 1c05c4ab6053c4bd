"""llama.cpp's own server as a peer; how to build it stands in ``tests.benchmarks.decode``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.benchmarks.peer import Peer, free_port

NAME = "llama-server"
_BINARY = "LMX_BENCH_LLAMA_SERVER"


async def start(model: Path, *, threads: int, slots: int, context: int) -> Peer | None:
    """Start it on this model with one cache for all slots, as ours has; None where it is not."""
    if not (binary := os.environ.get(_BINARY)):
        return None
    port = free_port()
    # Extra buffer types are off on both sides: GCC 12 builds die on processors with AMX.
    return await Peer.start(
        [binary, "-m", str(model), "--port", str(port), "-t", str(threads), "-np", str(slots),
         "-c", str(context), "-kvu", "--no-repack", "--no-webui", "-lv", "0"], port, "/health"
    )  # fmt: skip


@asynccontextmanager
async def beside(
    model: Path, *, threads: int, slots: int, context: int
) -> AsyncIterator[Peer | None]:
    """The same, for as long as a benchmark asks both."""
    peer = await start(model, threads=threads, slots=slots, context=context)
    try:
        yield peer
    finally:
        if peer:
            peer.stop()
