"""The answers of one request as they come, however many choices it asked for."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from engine.errors import Decision, EngineError
from engine.face import ChatDelta, ChatEnd
from engine.http.openai.choice import Choice

HEARTBEAT_S = 5.0
"""So long without a word and a stream says that it lives: proxies and clients give up after 15 to
60 s of silence, and a long prompt or a load may take longer."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came for a while; the request lives."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request could not even begin."""

    decision: Decision


Item = Silence | Refused | tuple[Choice, ChatDelta | ChatEnd]


class Feed:
    """Opens the choices of one request and hands on what they say, in the order it comes.

    Args:
        opening: Asks the engine; may take long where a model is loaded first.
        on_gap: Told of each delta, with the seconds since the one before it of the same choice.
        on_close: Told once of all choices, when nobody listens any more.
    """

    def __init__(
        self,
        opening: Coroutine[None, None, Sequence[Choice]],
        on_gap: Callable[[Choice, float], None],
        on_close: Callable[[Sequence[Choice]], object],
    ) -> None:
        self.choices: Sequence[Choice] = ()
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._ahead: list[Item] = []
        self._on_gap = on_gap
        self._on_close = on_close
        self._closed = False
        self._spoke = time.monotonic()
        self._open = 1
        self._began = asyncio.Event()
        self._task = asyncio.create_task(self._run(opening))
        self._heart = asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    @property
    def ended(self) -> bool:
        """Whether every choice has ended and nothing is left to be taken."""
        return self._open == 0 and self._queue.empty() and not self._ahead

    async def head(self, patience_s: float) -> None:
        """Wait for the first word, or for ``patience_s`` seconds.

        Raises:
            EngineError: the first word is a refusal; the feed is closed then.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                self._ahead.append(await self._queue.get())
        if (decision := self._refusal_ahead()) is not None:
            self.close()
            raise EngineError(decision)

    async def opened(self) -> None:
        """Wait until every choice is with the engine.

        Raises:
            EngineError: they are refused; the feed is closed then.
        """
        await self._began.wait()
        if not self.choices:
            await self.head(0.0)

    def _refusal_ahead(self) -> Decision | None:
        for item in self._ahead:
            match item:
                case Refused(decision):
                    return decision
                case (_, ChatEnd(decision=decision)):
                    return decision
        return None

    async def take(self) -> list[Item]:
        """Everything there is; waits for the first of it."""
        items, self._ahead = self._ahead or [await self._queue.get()], []
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items

    def close(self) -> None:
        """End what still runs; nobody listens any more. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._heart.cancel()
        self._task.cancel()
        for choice in self.choices:
            if choice.end is None:
                choice.stream.cancel()
        self._on_close(self.choices)

    async def _run(self, opening: Coroutine[None, None, Sequence[Choice]]) -> None:
        try:
            self.choices = await opening
        except EngineError as error:
            self._open = 0
            self._queue.put_nowait(Refused(error.decision))
            return
        finally:
            self._began.set()
        self._open = len(self.choices)
        await asyncio.gather(*(self._pump(choice) for choice in self.choices))

    async def _pump(self, choice: Choice) -> None:
        last = 0.0
        async for item in choice.stream:
            now = self._spoke = time.monotonic()
            if isinstance(item, ChatEnd):
                self._open -= 1
            elif last:
                self._on_gap(choice, now - last)
            last = now
            self._queue.put_nowait((choice, item))

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._spoke >= HEARTBEAT_S:
            self._spoke = now
            self._queue.put_nowait(Silence())
        due = self._spoke + HEARTBEAT_S - now
        self._heart = asyncio.get_running_loop().call_later(due, self._beat)
