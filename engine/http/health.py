"""Is it alive, may it be sent requests, and how is it: three plain questions without a key."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from engine.http.house import House
from engine.types import EngineSnapshot, Readiness


def router(house: House) -> APIRouter:
    """``/livez``, ``/readyz``, ``/healthz`` and ``/metrics``.

    Load balancers ask the first three by HEAD.
    """
    rooms = APIRouter(tags=["health"])

    @rooms.head("/livez", include_in_schema=False)
    @rooms.get("/livez", response_class=PlainTextResponse)
    async def livez() -> str:
        """Whether the process answers at all."""
        return "ok\n"

    @rooms.head("/readyz", include_in_schema=False)
    @rooms.get(
        "/readyz",
        response_class=PlainTextResponse,
        responses={503: {"description": "Not now", "content": {"text/plain": {}}}},
    )
    async def readyz() -> PlainTextResponse:
        """Whether requests may be sent here; 503 while not, with the reason."""
        why = unready(house)
        if why:
            return PlainTextResponse(f"{why}\n", 503, {"Retry-After": "5"})
        return PlainTextResponse("ok\n")

    @rooms.head("/healthz", include_in_schema=False)
    @rooms.get("/healthz")
    async def healthz() -> JSONResponse:
        """How it is, in counts; names nothing."""
        snapshot = house.engine.snapshot()
        why = unready(house)
        return JSONResponse(
            {
                "status": "ok" if not why else "unready",
                "reason": why,
                "started": snapshot.started,
                "stopping": snapshot.stopping,
                "models": by_state(snapshot),
                "requests": len(snapshot.requests),
                "notices": len(snapshot.notices),
            }
        )

    @rooms.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(house.metrics.page(), media_type=kind)

    return rooms


def unready(house: House) -> str:
    """Why no requests should be sent here, or empty."""
    snapshot = house.engine.snapshot()
    if snapshot.stopping:
        return "the engine is stopping"
    if not snapshot.started:
        return "the engine has not started"
    if (silent := house.engine.desk.stalled_s()) > 0:
        return f"the engine has done nothing for {silent:.0f} s"
    if house.settings.ready_when == "routable" and not any(
        model.readiness is Readiness.ROUTABLE and not model.draining for model in snapshot.models
    ):
        return "no model is routable"
    return ""


def by_state(snapshot: EngineSnapshot) -> dict[str, int]:
    """How many models stand where."""
    counts = dict.fromkeys((state.value for state in Readiness), 0)
    for model in snapshot.models:
        counts[model.readiness.value] += 1
    return counts
