"""``GET /v1/models``: what may be asked now, each with where it stands."""

from typing import Any

from fastapi import APIRouter

from engine.errors import EngineError
from engine.http.house import House
from engine.lives.model import not_ready, unknown
from engine.types import ModelView, Readiness


def router(house: House) -> APIRouter:
    """The routes, for this house."""
    routes = APIRouter(tags=["inference"])

    @routes.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        """The models that answer now; one with copies on several hosts once, as all of them."""
        models = house.engine.snapshot().models
        routable = {_family(m): m for m in models if m.readiness is Readiness.ROUTABLE}
        return {"object": "list", "data": [model_object(m, name) for name, m in routable.items()]}

    @routes.get("/v1/models/{model_id:path}")
    async def retrieve_model(model_id: str) -> dict[str, Any]:
        """One model that answers now; another tells why it does not."""
        engine = house.engine
        resolved = engine.resolve(model_id)
        view = engine.snapshot().model(resolved)
        if view is None:
            raise EngineError(unknown(model_id, len(engine.snapshot().models)))
        if view.readiness is not Readiness.ROUTABLE:
            raise EngineError(engine.why_not(resolved) or not_ready(view))
        return model_object(view, meant(model_id, view))

    return routes


def meant(name: str, view: ModelView) -> str:
    """What a client means that calls a model so: this very copy, or whichever answers best."""
    return view.id if name.endswith(view.id) else _family(view)


def _family(view: ModelView) -> str:
    return view.family or view.id


def model_object(view: ModelView, name: str) -> dict[str, Any]:
    """A model in OpenAI's form, with its readiness beside."""
    return {
        "id": name,
        "object": "model",
        "created": int(view.since),
        "owned_by": view.backend.value,
        "context_length": view.context,
        "readiness": {
            "state": view.readiness.value,
            "since": view.since,
            "strikes": view.strikes,
            "reason": view.reason,
            "probation": view.probation,
            "override": view.override,
            "evidence_id": view.evidence.id if view.evidence else None,
        },
    }
