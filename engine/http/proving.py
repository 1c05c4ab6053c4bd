"""``/admin/models``: what a console asks besides: the gate's whole answer, a prompt, new proofs."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from engine.face import ChatTurn
from engine.http.admin import viewed
from engine.http.admin_schemas import Asked, ExplainRequest, ModelId
from engine.http.caller import actor_of
from engine.http.house import House
from engine.types import Explanation


class Turn(Asked):
    """One message of a conversation."""

    role: str = Field(max_length=100)
    content: str


class RenderRequest(Asked):
    """Ask for the prompt a conversation becomes."""

    model_id: ModelId
    messages: tuple[Turn, ...]


class AdminPrompt(BaseModel):
    """The prompt, every special token of it."""

    model_id: str
    prompt: str


class ProveRequest(Asked):
    """Prove models of an older backend version again."""

    models: Annotated[tuple[ModelId, ...], Field(min_length=1, max_length=10_000)]


class AdminProving(BaseModel):
    """What is still to be proved, the model under trial first."""

    proving: tuple[str, ...]


def router(house: House) -> APIRouter:
    """Asked by whoever decides on a model."""
    rooms = APIRouter(prefix="/admin/models", tags=["admin: models"])
    engine = house.engine

    @rooms.post("/explanation")
    async def explanation(body: ExplainRequest) -> Explanation:
        """The gate's whole answer: as `explain`, with what each check says and the estimate."""
        return await engine.explain(viewed(house, body.model_id).id, body.options())

    @rooms.post("/render")
    async def render(body: RenderRequest) -> AdminPrompt:
        """The prompt a routable model would be given for a conversation; nothing is generated."""
        turns = tuple(ChatTurn(turn.role, turn.content) for turn in body.messages)
        prompt = await engine.render(body.model_id, turns)
        return AdminPrompt(model_id=body.model_id, prompt=prompt)

    @rooms.post("/prove")
    async def prove(body: ProveRequest, request: Request) -> AdminProving:
        """Load, prove and unload these of the `outdated` models in the background."""
        await engine.prove_outdated(body.models, actor=actor_of(request))
        return AdminProving(proving=engine.snapshot().proving)

    @rooms.post("/stop-proving")
    async def stop_proving(request: Request) -> AdminProving:
        """End what `prove` began; what was proved stays proved."""
        await engine.stop_proving(actor=actor_of(request))
        return AdminProving(proving=engine.snapshot().proving)

    return rooms
