"""``POST /v1/chat/completions``."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from engine.dialect import CallArguments, CallBegun, Piece, Thought, Words
from engine.errors import Decision
from engine.face import Chance, ChatDelta, ChatEnd
from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import ChatBody, refuse_unsupported
from engine.http.openai.choice import Choice, usage
from engine.http.openai.feed import Feed
from engine.http.openai.raw import RawChunks, trusted, wanted
from engine.http.openai.reply import DONE, STREAMED, event, relayed, streamed, whole
from engine.http.openai.translation import Wish, chat_wish
from engine.http.refusal import error_body
from engine.types import ModelView


def router(house: House) -> APIRouter:
    """The route, for this house."""
    routes = APIRouter(tags=["inference"])

    @routes.post("/v1/chat/completions", responses=STREAMED, response_model=None)
    async def create_chat_completion(body: ChatBody, request: Request) -> Response:
        """Answer a conversation, whole or streamed."""
        refuse_unsupported(await request.json())

        def wishes(view: ModelView) -> Sequence[Wish]:
            return several(chat_wish(body, view), body.n or 1)

        asker = Asker.of(request, body.user, trusted=trusted(house, request.headers))
        feed = ask(house, body.model, asker, wishes)
        identity = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time())}
        if body.stream and wanted(request.headers):
            chunks = RawChunks(feed, identity)
            return await relayed(feed, chunks, chunks.open)
        if body.stream:
            return await streamed(feed, _Chunks(feed, body, identity))
        return await whole(
            request, feed, lambda choices: _completion(choices, identity, bool(body.logprobs))
        )

    return routes


def several(wish: Wish, count: int) -> list[Wish]:
    """The same wish for several choices: each draws with a seed of its own."""
    seed = wish.options.seed
    if seed is None:
        return [wish] * count
    return [
        replace(wish, options=replace(wish.options, seed=seed + number)) for number in range(count)
    ]


def _completion(
    choices: Sequence[Choice], identity: dict[str, Any], logprobs: bool
) -> dict[str, Any]:
    return {
        **identity,
        "object": "chat.completion",
        "model": choices[0].view.id,
        "system_fingerprint": choices[0].view.backend_version,
        "choices": [
            {
                "index": choice.index,
                "message": _message(choice),
                "logprobs": chances_told(choice.chances) if logprobs else None,
                "finish_reason": choice.finish_reason,
            }
            for choice in choices
        ],
        "usage": usage(choices),
    }


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.content if choice.content or not choice.calls else None,
        "refusal": None,
    }
    if choice.thought:
        message["reasoning_content"] = choice.thought
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.calls
        ]
    return message


class _Chunks:
    """A :class:`Teller` in chunks."""

    def __init__(self, feed: Feed, body: ChatBody, identity: dict[str, Any]) -> None:
        self._feed = feed
        self._logprobs = bool(body.logprobs)
        self._counted = body.stream_options is not None and body.stream_options.include_usage
        self._chunk = {**identity, "object": "chat.completion.chunk", "model": body.model}
        self._begun: set[int] = set()

    def hear(self, choice: Choice, said: ChatDelta | ChatEnd) -> bytes:
        told = b""
        if choice.index not in self._begun:
            self._begun.add(choice.index)
            self._chunk["model"] = choice.view.id
            self._chunk["system_fingerprint"] = choice.view.backend_version
            told += self._tell(choice, {"role": "assistant", "content": ""})
        for delta in deltas(choice.hear(said)):
            told += self._tell(choice, delta)
        if choice.finish_reason is not None:
            told += self._tell(choice, {}, choice.finish_reason)
        elif self._logprobs and choice.chances:
            told += self._tell(choice, {"content": ""})
        return told

    def _tell(self, choice: Choice, delta: dict[str, Any], reason: str | None = None) -> bytes:
        chances = choice.take_chances() if self._logprobs else []
        told = {
            "index": choice.index,
            "delta": delta,
            "logprobs": chances_told(chances) if chances else None,
            "finish_reason": reason,
        }
        usage_of_none = {"usage": None} if self._counted else {}
        return event(self._chunk | {"choices": [told]} | usage_of_none)

    def fail(self, decision: Decision) -> bytes:
        return event(error_body(decision))

    def close(self) -> bytes:
        if not self._counted:
            return DONE
        return event(self._chunk | {"choices": [], "usage": usage(self._feed.choices)}) + DONE


def deltas(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Pieces as the deltas of a chunk."""
    told: list[dict[str, Any]] = []
    for piece in pieces:
        match piece:
            case Words():
                told.append({"content": piece.text})
            case Thought():
                told.append({"reasoning_content": piece.text})
            case CallBegun():
                function = {"name": piece.name, "arguments": ""}
                call = {"index": piece.index, "id": piece.id, "type": "function"}
                told.append({"tool_calls": [{**call, "function": function}]})
            case CallArguments():
                function = {"arguments": piece.delta}
                told.append({"tool_calls": [{"index": piece.index, "function": function}]})
    return told


def chances_told(chances: Sequence[Chance]) -> dict[str, Any]:
    """Log-probabilities in the form of chat completions."""
    return {
        "content": [
            {**_chance(chance), "top_logprobs": [_chance(other) for other in chance.top]}
            for chance in chances
        ],
        "refusal": None,
    }


def _chance(chance: Chance) -> dict[str, Any]:
    return {"token": chance.text, "logprob": chance.logprob, "bytes": list(chance.bytes)}
