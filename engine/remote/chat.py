"""A running answer of an engine in another process, as the console beside it would hear it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from pydantic import ValidationError

from engine.delta import adapter_of
from engine.errors import Code, EngineError, refuse
from engine.face import ChatDelta, ChatEnd, ChatOptions, ChatTurn, Lane, OutOfReach
from engine.remote.link import Link
from engine.remote.sse import Told, events_of

PATH = "/v1/chat/completions"
SILENT_S = 20.0
"""A stream says every five seconds that it lives."""
_DRAWN = (
    *("temperature", "top_p", "top_k", "min_p", "max_tokens", "repeat_penalty"),
    *("presence_penalty", "frequency_penalty", "seed"),
)


def asked(
    model_id: str, turns: Sequence[ChatTurn], options: ChatOptions, prompt: str | None
) -> dict[str, Any]:
    """A conversation in OpenAI's words.

    Raises:
        EngineError: ``invalid_request``; it holds something these words cannot say.
    """
    for name, value in (
        ("prompt", prompt),
        ("opening", options.opening or None),
        ("deadline_s", options.deadline_s),
        ("tools", options.tools or None),
        ("json_schema", options.json_schema),
        ("reasoning", next((turn.reasoning for turn in turns if turn.reasoning), None)),
        ("tool_calls", next((turn.tool_calls for turn in turns if turn.tool_calls), None)),
    ):
        if value is not None:
            raise EngineError(
                refuse(
                    Code.INVALID_REQUEST,
                    f"{name} cannot be asked for through an attached console",
                    expected="a plain conversation",
                    found=name,
                    remedy="ask the API itself",
                    param=name,
                )
            )
    body: dict[str, Any] = {
        "model": model_id,
        "stream": True,
        "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
    }
    body |= {name: value for name in _DRAWN if (value := getattr(options, name)) is not None}
    if options.stop:
        body["stop"] = list(options.stop)
    if options.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in options.logit_bias.items()}
    if options.template_options:
        body["chat_template_kwargs"] = dict(options.template_options)
    if options.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": options.logprobs}
    return body


async def ask(link: Link, body: dict[str, Any], *, client: str, lane: Lane) -> "RemoteChat":
    """Ask, and come back once the engine has the request.

    Raises:
        EngineError: it may not be asked.
        OutOfReach: nobody answers.
    """
    headers = {"X-LMX-Raw": "1", "X-Client-ID": client, "X-Serving-Lane": lane.value}
    async with AsyncExitStack() as opening:
        answer = await opening.enter_async_context(
            link.open("POST", PATH, body, headers, silent_s=SILENT_S)
        )
        events = events_of(answer.lines())
        try:
            first = (await anext(events)).data["lmx"]
            about = str(first["request_id"]), str(first["model_id"])
        except (StopAsyncIteration, KeyError, TypeError) as error:
            raise OutOfReach(f"what answers at {link.name} is no engine to attach to") from error
        return RemoteChat(*about, events, answer.abort, opening.pop_all())


class RemoteChat:
    """The answer; see :class:`engine.face.ChatStream`. Whoever stops iterating ends it."""

    def __init__(
        self,
        request_id: str,
        model_id: str,
        events: AsyncIterator[Told],
        abort: Callable[[], None],
        connection: AsyncExitStack,
    ) -> None:
        self.request_id = request_id
        self.model_id = model_id
        self.thinking = False
        self._events = events
        self._abort = abort
        self._connection = connection
        self._cancelled = False
        self._tokens = 0

    def cancel(self) -> None:
        """Hang up: the engine frees the slot of a client that is gone, within one step."""
        self._cancelled = True
        self._abort()

    def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        return self._heard()

    async def _heard(self) -> AsyncGenerator[ChatDelta | ChatEnd, None]:
        async with self._connection:
            try:
                async for told in self._events:
                    item = self._read(told.data)
                    if item is not None:
                        yield item
                    if isinstance(item, ChatEnd):
                        return
            except OutOfReach:
                if not self._cancelled:
                    raise
            if self._cancelled:
                yield ChatEnd("cancelled", completion_tokens=self._tokens)
                return
        raise OutOfReach("the engine went away before the answer was whole")

    def _read(self, data: Any) -> ChatDelta | ChatEnd | None:
        told = data.get("lmx") if isinstance(data, dict) else None
        if not isinstance(told, dict):
            return None
        try:
            if "end" in told:
                end: ChatEnd = adapter_of(ChatEnd).validate_python(told["end"])
                return end
            if "delta" in told:
                self.thinking = bool(told.get("thinking"))
                delta: ChatDelta = adapter_of(ChatDelta).validate_python(told["delta"])
                self._tokens += delta.tokens
                return delta
        except ValidationError as error:
            raise OutOfReach("the engine's answer cannot be read") from error
        return None
