"""The API as one ASGI application: the guard outermost, then the rooms."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from engine.address import Address, parse_address
from engine.face import ApiFace
from engine.http import admin, faults, feed, health, office, openai, proving, watch
from engine.http.guard import Guard
from engine.http.house import House
from engine.http.keys import Keys
from engine.http.metrics import Metrics
from engine.http.once import Once
from engine.http.refusal import ErrorBody
from engine.settings import Settings

_ABOUT = """Inference as OpenAI's clients speak it under `/v1`, administration under `/admin`.

Every error has one shape: `{"error": {"message", "type", "param", "code", …}}`. Its `code` says
what happened, `remedy` what to do; the same words stand in the console, the event log and the
registry.
"""


def make_app(
    engine: ApiFace,
    settings: Settings,
    keys: Keys,
    *,
    address: Address | None = None,
    readonly: bool = False,
    version: str = "0",
) -> FastAPI:
    """Build the API in front of a started engine. It stands in ``app.state.house``.

    Args:
        address: Where it will answer; None means where the settings say.
        readonly: Nothing under ``/admin`` may change anything.
        version: Of this program.
    """
    where = address or parse_address(settings.api or "127.0.0.1:0")
    house = House(engine, settings, keys, where, readonly, Metrics(engine), version)
    app = FastAPI(
        title="Opta-LMX",
        description=_ABOUT,
        redoc_url=None,
        version=version,
        redirect_slashes=False,
        responses={"default": {"model": ErrorBody, "description": "A refusal"}},
    )
    app.state.house = house
    faults.install(app)
    for room in (health, office, feed, watch, proving, admin):
        app.include_router(room.router(house))
    app.include_router(admin.detail_router(house))
    for router in openai.routers(house):
        app.include_router(router)
    # The last one added is the first one asked.
    app.add_middleware(faults.Faults, desk=engine.desk)
    app.add_middleware(Once, boot=house.boot)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    app.add_middleware(Guard, settings=settings, keys=keys, address=where, readonly=readonly)
    return app
