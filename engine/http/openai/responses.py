"""``POST /v1/responses``: the same answers in the form of OpenAI's newer API. Nothing is stored."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from engine.errors import Decision
from engine.face import ChatDelta, ChatEnd
from engine.http.house import House
from engine.http.openai.asking import Asker, ask
from engine.http.openai.bodies import ResponsesBody, refuse_unsupported
from engine.http.openai.choice import Choice
from engine.http.openai.output import Event, Output
from engine.http.openai.reply import STREAMED, event, streamed, whole
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
            return await streamed(feed, _Events(output))

        def complete(choices: Sequence[Choice]) -> object:
            (choice,) = choices
            output.begin(choice.view.id)
            return output.finish(choice)[-1]["response"]

        return await whole(request, feed, complete, output.add)

    return routes


class _Events:
    """A :class:`Teller` in the events of a response."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = False

    def hear(self, choice: Choice, said: ChatDelta | ChatEnd) -> bytes:
        told: list[Event] = []
        if not self._begun:
            self._begun = True
            told += self._output.begin(choice.view.id)
        told += self._output.add(choice.hear(said))
        if choice.finish_reason is not None:
            told += self._output.finish(choice)
        return _sent(told)

    def fail(self, decision: Decision) -> bytes:
        return _sent([self._output.fail(decision, error_body(decision))])

    def close(self) -> bytes:
        return b""


def _sent(events: Sequence[Event]) -> bytes:
    return b"".join(event(told, told["type"]) for told in events)
