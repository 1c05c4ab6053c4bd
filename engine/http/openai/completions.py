"""``POST /v1/completions``: plain texts continued, as OpenAI's first API had it."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from engine.dialect import Words
from engine.errors import EngineError
from engine.face import Chance
from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import MOST_CHOICES, CompletionBody, invalid, refuse_unsupported
from engine.http.openai.chat import several
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
from engine.http.openai.translation import Wish, completion_wish
from engine.http.refusal import error_body
from engine.types import ModelView


def router(house: House) -> APIRouter:
    """The route, for this house."""
    routes = APIRouter(tags=["inference"])

    @routes.post("/v1/completions", responses=STREAMED, response_model=None)
    async def create_completion(body: CompletionBody, request: Request) -> Response:
        """Continue one text or several."""
        refuse_unsupported(await request.json())
        prompts = (body.prompt,) if isinstance(body.prompt, str) else body.prompt
        count = body.n or 1
        if len(prompts) * count > MOST_CHOICES:
            found = f"{len(prompts)} prompts × n {count}"
            raise EngineError(
                invalid("n", "too many choices at once", found, f"at most {MOST_CHOICES}")
            )
        if body.best_of not in (None, count):
            raise EngineError(invalid("best_of", "choices are not ranked here"))

        def wishes(_: ModelView) -> Sequence[Wish]:
            return [
                wish for prompt in prompts for wish in several(completion_wish(body, prompt), count)
            ]

        feed = ask(house, body.model, Asker.of(request, body.user), wishes)
        identity = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
        }
        if not body.stream:
            if not await whole(request, feed):
                return Response(status_code=CLIENT_GONE)
            return JSONResponse(_completion(feed.choices, body, identity))
        await feed.head(HEAD_PATIENCE_S)
        return EventStream(_lines(feed, body, identity), feed.close)

    return routes


def _completion(
    choices: Sequence[Choice], body: CompletionBody, identity: dict[str, Any]
) -> dict[str, Any]:
    return {
        **identity,
        "model": choices[0].view.id,
        "choices": [
            {
                "index": choice.index,
                "text": _echo(choice, body) + choice.content,
                "logprobs": _told(choice.chances, len(_echo(choice, body)))
                if body.logprobs is not None
                else None,
                "finish_reason": choice.finish_reason,
            }
            for choice in choices
        ],
        "usage": usage(choices),
    }


def _echo(choice: Choice, body: CompletionBody) -> str:
    return (choice.wish.prompt or "") if body.echo else ""


async def _lines(
    feed: Feed, body: CompletionBody, identity: dict[str, Any]
) -> AsyncIterator[bytes]:
    counted = body.stream_options is not None and body.stream_options.include_usage
    chunk: dict[str, Any] = {**identity, "model": body.model}
    offsets: dict[int, int] = {}

    def tell(choice: Choice, text: str, reason: str | None = None) -> bytes:
        chances = choice.take_chances()
        told = {
            "index": choice.index,
            "text": text,
            "logprobs": _told(chances, offsets[choice.index])
            if body.logprobs is not None and chances
            else None,
            "finish_reason": reason,
        }
        offsets[choice.index] += sum(len(chance.text) for chance in chances)
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
                    chunk["model"] = choice.view.id
                    if choice.index not in offsets:
                        echo = _echo(choice, body)
                        offsets[choice.index] = len(echo)
                        if echo:
                            lines.append(tell(choice, echo))
                    pieces = choice.hear(said)
                    text = "".join(piece.text for piece in pieces if isinstance(piece, Words))
                    if text or choice.chances:
                        lines.append(tell(choice, text))
                    if choice.refusal is not None:
                        yield b"".join(lines) + event(error_body(choice.refusal))
                        return
                    if choice.end is not None:
                        lines.append(tell(choice, "", choice.finish_reason))
        if lines:
            yield b"".join(lines)
    last = event(chunk | {"choices": [], "usage": usage(feed.choices)}) if counted else b""
    yield last + DONE


def _told(chances: Sequence[Chance], offset: int) -> dict[str, Any]:
    """Log-probabilities in the form of legacy completions."""
    offsets = []
    for chance in chances:
        offsets.append(offset)
        offset += len(chance.text)
    return {
        "tokens": [chance.text for chance in chances],
        "token_logprobs": [chance.logprob for chance in chances],
        "top_logprobs": [
            {other.text: other.logprob for other in chance.top} or None for chance in chances
        ],
        "text_offset": offsets,
    }
