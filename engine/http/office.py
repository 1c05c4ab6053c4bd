"""``/admin``: the engine as a whole: status, memory, requests, registry, quarantine."""

import asyncio
import os
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response

from engine.delta import PROTOCOL
from engine.errors import Code, EngineError, refuse
from engine.http.caller import actor_of
from engine.http.health import by_state, unready
from engine.http.house import House
from engine.http.office_schemas import (
    AdminCancelled,
    AdminCompatibility,
    AdminImport,
    AdminMemory,
    AdminModelMemory,
    AdminQuarantine,
    AdminRequests,
    AdminStatus,
    AdminTally,
)
from engine.ledger.archive import ArchiveTrouble
from engine.registry import RegistryTrouble
from engine.text import clean_line
from engine.types import Backend, EngineSnapshot, Readiness

ROWS, ROWS_MAX = 100, 10_000


def router(house: House) -> APIRouter:
    """Everything of ``/admin`` that is about no single model."""
    rooms = APIRouter(prefix="/admin", tags=["admin: engine"])
    engine = house.engine

    @rooms.get("/status")
    async def status() -> AdminStatus:
        """How the engine is."""
        snapshot = engine.snapshot()
        why = unready(house)
        return AdminStatus(
            version=house.version,
            face=PROTOCOL,
            boot=house.boot,
            started=snapshot.started,
            stopping=snapshot.stopping,
            ready=not why,
            reason=why,
            readonly=house.readonly,
            host=snapshot.host,
            home=snapshot.home,
            api=snapshot.api,
            pid=os.getpid(),
            models=by_state(snapshot),
            requests=len(snapshot.requests),
            memory=_memory(snapshot),
            runtimes=list(snapshot.runtimes),
            notices=list(snapshot.notices),
            outdated=list(snapshot.outdated),
            last_event=snapshot.events[-1].seq if snapshot.events else 0,
        )

    @rooms.get("/memory")
    async def memory() -> AdminMemory:
        """What models take and what there is."""
        return _memory(engine.snapshot())

    @rooms.get("/quarantine")
    async def quarantine() -> AdminQuarantine:
        """What is quarantined, why, and when it may be released."""
        views = list(engine.snapshot().quarantine)
        return AdminQuarantine(quarantine=views, count=len(views))

    @rooms.get("/requests")
    async def requests() -> AdminRequests:
        """Requests in flight, and who asked lately."""
        snapshot = engine.snapshot()
        flying = list(snapshot.requests)
        return AdminRequests(requests=flying, count=len(flying), clients=list(snapshot.clients))

    @rooms.delete("/requests/{request_id}")
    async def cancel(request_id: str, request: Request) -> AdminCancelled:
        """End a request within one step of its model."""
        if not any(flying.id == request_id for flying in engine.snapshot().requests):
            name = clean_line(request_id, limit=80)
            raise EngineError(
                refuse(
                    Code.PATH_NOT_FOUND,
                    f"no request {name!r} is in flight",
                    expected="the id of a request in flight",
                    found="none of this id; it may have ended",
                    remedy="see /admin/requests",
                    param="request_id",
                )
            )
        await engine.cancel(request_id, actor=actor_of(request))
        return AdminCancelled(id=request_id, cancelled=True)

    # -- the registry ---------------------------------------------------------------------------

    @rooms.get("/models/compatibility")
    async def compatibility(
        model_id: Annotated[str | None, Query(max_length=400)] = None,
        backend: Backend | None = None,
        outcome: Literal["pass", "fail"] | None = None,
        since_ts: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        limit: Annotated[int, Query(ge=0, le=ROWS_MAX)] = ROWS,
        summary: bool = True,
    ) -> AdminCompatibility:
        """What passed and failed on this host, newest first; `summary=false` counts no models."""

        def work() -> AdminCompatibility:
            archive = engine.desk.archive()
            asked = (model_id, backend.value if backend else None, outcome, since_ts)
            return AdminCompatibility(
                total=archive.count(*asked),
                rows=list(archive.rows(*asked, limit)),
                summary={
                    name: AdminTally.of(tally)
                    for name, tally in (archive.summary() if summary else {}).items()
                    if model_id in (None, name)
                },
            )

        return await asyncio.to_thread(work)

    @rooms.get("/registry/export", response_class=Response)
    async def export() -> Response:
        """The whole registry, every row with the host it comes from."""
        data, count = await asyncio.to_thread(lambda: engine.desk.archive().exported())
        return Response(data, media_type="application/json", headers={"X-Rows": str(count)})

    @rooms.post("/registry/import")
    async def take_in(
        request: Request,
        _: Annotated[list[dict[str, Any]], Body(description="Another host's export.")],
        origin: Annotated[str | None, Query(max_length=120)] = None,
    ) -> AdminImport:
        """Take in another host's export. Its rows are evidence, never a verdict."""
        data = await request.body()
        actor = actor_of(request)
        try:
            merged = await asyncio.to_thread(
                lambda: engine.desk.archive().merge_bytes(data, "the body", origin)
            )
        except ArchiveTrouble as trouble:
            raise EngineError(
                refuse(
                    Code.INVALID_REQUEST,
                    str(trouble),
                    expected="a registry export",
                    found=f"{len(data):,} bytes",
                    remedy="send what /admin/registry/export gave",
                    param="body",
                )
            ) from trouble
        except RegistryTrouble as trouble:
            raise EngineError(
                refuse(
                    Code.UNKNOWN_FAILURE,
                    f"the registry cannot be written: {clean_line(str(trouble))}",
                    expected="a registry that can be written",
                    found=clean_line(str(trouble)),
                    remedy="look at the disk of the home folder",
                )
            ) from trouble
        engine.desk.note(
            "registry_imported",
            f"{merged.added} rows of other hosts taken in",
            actor=actor,
            data={"origins": merged.origins},
        )
        return AdminImport(
            added=merged.added,
            known=merged.known,
            refused=merged.refused,
            damaged=merged.damaged,
            origins=merged.origins,
        )

    return rooms


def _memory(snapshot: EngineSnapshot) -> AdminMemory:
    total = snapshot.memory
    return AdminMemory(
        budget=total.budget,
        reserved=total.reserved,
        measured=total.measured,
        available=total.available,
        models=[
            AdminModelMemory(
                id=view.id,
                estimate_bytes=view.estimate.total if view.estimate else None,
                measured_bytes=view.measured_bytes,
            )
            for view in snapshot.models
            if view.readiness is not Readiness.UNLOADED
        ],
    )
