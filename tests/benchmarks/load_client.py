"""Asks an OpenAI server several things at once and measures what comes back, over bare sockets:
the client must not be what is measured."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of concurrent requests gave."""

    tokens: int
    seconds: float
    first_s: tuple[float, ...]
    """Time to first token of each stream, in seconds."""
    broken: int
    """Streams that did not end with ``[DONE]``, or without a reason: ``llama_cpp.server`` says
    ``[DONE]`` to those it interrupts for the next."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all streams over the time of all."""
        return self.tokens / self.seconds


async def ask_all(port: int, model: str, prompts: Sequence[str], max_tokens: int) -> Round:
    """One round: every prompt at once, each streamed to its end."""
    began = time.perf_counter()
    results = await asyncio.gather(*(_ask(port, model, p, max_tokens) for p in prompts))
    seconds = time.perf_counter() - began
    return Round(
        tokens=sum(tokens for tokens, _, _ in results),
        seconds=seconds,
        first_s=tuple(first for _, first, _ in results),
        broken=sum(not done for _, _, done in results),
    )


async def _ask(port: int, model: str, prompt: str, max_tokens: int) -> tuple[int, float, bool]:
    body = json.dumps(
        {
            "model": model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": False,
        }
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    # llama_cpp.server tells no usage in a stream: there every event is a token.
    began, first, tokens, events = time.perf_counter(), 0.0, 0, 0
    reason = done = False
    try:
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        async for line in reader:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                done = True
                break
            first = first or time.perf_counter() - began
            events += 1
            reason |= b'"finish_reason":"' in line or b'"finish_reason": "' in line
            if b'"usage":{' in line or b'"usage": {' in line:
                usage = json.loads(line[6:]).get("usage") or {}
                tokens = usage.get("completion_tokens", tokens)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
    return tokens or events, first, reason and done


async def listen(port: int, path: str, body: dict[str, object]) -> list[float]:
    """One streamed request: seconds from its sending to each event that carried text.

    Args:
        path: Such as ``/v1/chat/completions``.
        body: The request; ``stream`` is added.

    Raises:
        SystemExit: the stream ended before its time.
    """
    data = json.dumps(body | {"stream": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    heard: list[float] = []
    began = time.perf_counter()
    try:
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (path.encode(), len(data))
            + data
        )
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                return heard
            if line.startswith(b"data: ") and _has_text(json.loads(line[6:])):
                heard.append(time.perf_counter() - began)
    finally:
        writer.close()
    raise SystemExit(f"a stream from port {port} ended early")


def _has_text(event: dict[str, Any]) -> bool:
    choices = event.get("choices") or [{}]
    said = choices[0].get("text") or (choices[0].get("delta") or {}).get("content")
    return bool(said)
