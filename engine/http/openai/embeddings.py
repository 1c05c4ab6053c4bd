"""``POST /v1/embeddings``: an honest no."""

from fastapi import APIRouter

from engine.errors import EngineError
from engine.http.house import House
from engine.http.openai.bodies import invalid


def router(_: House) -> APIRouter:
    """The route, for this house."""
    routes = APIRouter(tags=["inference"])

    @routes.post("/v1/embeddings")
    async def create_embedding() -> None:
        """No model here embeds: every one is loaded and proved as a text generator."""
        raise EngineError(
            invalid("model", "no model here embeds text", "an embedding", "a text generator")
        )

    return routes
