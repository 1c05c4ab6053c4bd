"""Raw ``mlx_lm.stream_generate`` in a process of its own, asked over a pipe.

The process reads one question a line from standard input, ``{"prompt": …, "max_tokens": …}``, and
answers each with what it took, measured where the generator is called.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.load_client import Round


class RawMlx:
    """The process's parent side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, prompt: str, max_tokens: int) -> Round:
        """One prompt, greedily, to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = json.dumps({"prompt": prompt, "max_tokens": max_tokens})
        self._process.stdin.write(question.encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        return Round(**{**answer, "first_s": tuple(answer["first_s"])})


@asynccontextmanager
async def raw_mlx(folder: Path) -> AsyncIterator[RawMlx]:
    """The process, with a model folder loaded at its first question."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.benchmarks.raw_mlx", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield RawMlx(process)
    finally:
        process.kill()
        await process.wait()


def answer_all(folder: str) -> None:
    """Answer questions until standard input ends."""
    from mlx_lm import load, stream_generate

    model, tokenizer, *_ = load(folder)
    for line in sys.stdin:
        question = json.loads(line)
        began, first, tokens = time.perf_counter(), 0.0, 0
        for response in stream_generate(
            model, tokenizer, question["prompt"], max_tokens=question["max_tokens"]
        ):
            first = first or time.perf_counter() - began
            # As the API counts: the token that ends a text is none of its tokens.
            tokens = response.generation_tokens - (response.finish_reason == "stop")
        took = time.perf_counter() - began
        told = Round(tokens=tokens, seconds=took, first_s=(first,), broken=0)
        print(json.dumps(asdict(told)), flush=True)


if __name__ == "__main__":
    answer_all(sys.argv[1])
