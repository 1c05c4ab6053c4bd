"""``POST /v1/chat/completions``."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from engine.dialect import CallArguments, CallBegun, Piece, Thought, Words
from engine.face import Chance
from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import ChatBody, refuse_unsupported
from engine.http.openai.choice import Choice, usage
from engine.http.openai.feed import Feed, Refused, Silence
from engine.http.openai.reply import (
    CLIENT_GONE,
    DONE,
    HEAD_PATIENCE_S,
    STREAMED,
    EventStream,
    comment,
    event,
    whole,
)
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

        feed = ask(house, body.model, Asker.of(request, body.user), wishes)
        identity = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time())}
        if not body.stream:
            if not await whole(request, feed):
                return Response(status_code=CLIENT_GONE)
            return JSONResponse(_completion(feed.choices, identity, bool(body.logprobs)))
        await feed.head(HEAD_PATIENCE_S)
        return EventStream(_lines(feed, body, identity), feed.close)

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


async def _lines(feed: Feed, body: ChatBody, identity: dict[str, Any]) -> AsyncIterator[bytes]:
    counted = body.stream_options is not None and body.stream_options.include_usage
    chunk: dict[str, Any] = {**identity, "object": "chat.completion.chunk", "model": body.model}
    begun: set[int] = set()

    def tell(choice: Choice, delta: dict[str, Any], reason: str | None = None) -> bytes:
        chances = choice.take_chances() if body.logprobs else []
        told = {
            "index": choice.index,
            "delta": delta,
            "logprobs": chances_told(chances) if chances else None,
            "finish_reason": reason,
        }
        return event(chunk | {"choices": [told]} | ({"usage": None} if counted else {}))

    while not feed.ended:
        lines: list[bytes] = []
        for item in await feed.take():
            match item:
                case Silence():
                    lines.append(comment("still at it"))
                case Refused():
                    yield b"".join(lines) + event(error_body(item.decision))
                    return
                case (choice, said):
                    if choice.index not in begun:
                        begun.add(choice.index)
                        chunk["model"] = choice.view.id
                        chunk["system_fingerprint"] = choice.view.backend_version
                        lines.append(tell(choice, {"role": "assistant", "content": ""}))
                    lines += [tell(choice, delta) for delta in deltas(choice.hear(said))]
                    if choice.refusal is not None:
                        yield b"".join(lines) + event(error_body(choice.refusal))
                        return
                    if choice.end is not None:
                        lines.append(tell(choice, {}, choice.finish_reason))
                    elif body.logprobs and choice.chances:
                        lines.append(tell(choice, {"content": ""}))
        if lines:
            yield b"".join(lines)
    last = event(chunk | {"choices": [], "usage": usage(feed.choices)}) if counted else b""
    yield last + DONE


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
