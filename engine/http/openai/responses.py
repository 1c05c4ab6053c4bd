"""``POST /v1/responses``: the same answers in the form of OpenAI's newer API. Nothing is stored."""

from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import ResponsesBody, refuse_unsupported
from engine.http.openai.feed import Feed, Refused, Silence
from engine.http.openai.output import Event, Output
from engine.http.openai.reply import (
    CLIENT_GONE,
    HEAD_PATIENCE_S,
    STREAMED,
    EventStream,
    comment,
    event,
    whole,
)
from engine.http.openai.translation import Wish, responses_wish
from engine.http.refusal import error_body
from engine.types import ModelView


def router(house: House) -> APIRouter:
    """The route, for this house."""
    routes = APIRouter(tags=["inference"])

    @routes.post("/v1/responses", responses=STREAMED, response_model=None)
    async def create_response(body: ResponsesBody, request: Request) -> Response:
        """Answer a conversation, whole or streamed."""
        refuse_unsupported(await request.json())

        def wishes(view: ModelView) -> Sequence[Wish]:
            return [responses_wish(body, view)]

        feed = ask(house, body.model, Asker.of(request, body.user), wishes)
        output = Output(body)
        if body.stream:
            await feed.head(HEAD_PATIENCE_S)
            return EventStream(_lines(feed, output), feed.close)
        if not await whole(request, feed, output.add):
            return Response(status_code=CLIENT_GONE)
        (choice,) = feed.choices
        output.begin(choice.view.id)
        return JSONResponse(output.finish(choice)[-1]["response"])

    return routes


async def _lines(feed: Feed, output: Output) -> AsyncIterator[bytes]:
    begun = False
    while not feed.ended:
        told: list[Event] = []
        silent = False
        for item in await feed.take():
            match item:
                case Silence():
                    silent = True
                case Refused(decision):
                    yield _sent([output.fail(decision, error_body(decision))])
                    return
                case (choice, said):
                    if not begun:
                        begun = True
                        told += output.begin(choice.view.id)
                    told += output.add(choice.hear(said))
                    if choice.refusal is not None:
                        told.append(output.fail(choice.refusal, error_body(choice.refusal)))
                        yield _sent(told)
                        return
                    if choice.end is not None:
                        told += output.finish(choice)
        if told or silent:
            yield _sent(told) or comment("still at it")


def _sent(events: Sequence[Event]) -> bytes:
    return b"".join(event(told, told["type"]) for told in events)
