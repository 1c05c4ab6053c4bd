"""``POST /v1/completions``: plain texts continued, as OpenAI's first API had it."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from engine.dialect import Words
from engine.errors import Decision, EngineError
from engine.face import Chance, ChatDelta, ChatEnd
from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import MOST_CHOICES, CompletionBody, invalid, refuse_unsupported
from engine.http.openai.chat import several
from engine.http.openai.choice import Choice, usage
from engine.http.openai.feed import Feed
from engine.http.openai.reply import DONE, STREAMED, event, streamed, whole
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
        if body.stream:
            return await streamed(feed, _Chunks(feed, body, identity))
        return await whole(request, feed, lambda choices: _completion(choices, body, identity))

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


class _Chunks:
    """A :class:`Teller` in chunks."""

    def __init__(self, feed: Feed, body: CompletionBody, identity: dict[str, Any]) -> None:
        self._feed = feed
        self._body = body
        self._counted = body.stream_options is not None and body.stream_options.include_usage
        self._chunk = {**identity, "model": body.model}
        self._offsets: dict[int, int] = {}

    def hear(self, choice: Choice, said: ChatDelta | ChatEnd) -> bytes:
        told = b""
        if choice.index not in self._offsets:
            self._chunk["model"] = choice.view.id
            echo = _echo(choice, self._body)
            self._offsets[choice.index] = len(echo)
            told += self._tell(choice, echo) if echo else b""
        pieces = choice.hear(said)
        text = "".join(piece.text for piece in pieces if isinstance(piece, Words))
        if text or choice.chances:
            told += self._tell(choice, text)
        if choice.finish_reason is not None:
            told += self._tell(choice, "", choice.finish_reason)
        return told

    def _tell(self, choice: Choice, text: str, reason: str | None = None) -> bytes:
        chances, offset = choice.take_chances(), self._offsets[choice.index]
        self._offsets[choice.index] += sum(len(chance.text) for chance in chances)
        told = {
            "index": choice.index,
            "text": text,
            "logprobs": _told(chances, offset) if chances else None,
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
