"""``/admin``: what an operator does with models, for scripts."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from engine.errors import Code, Decision, EngineError, refuse, unless_one_did
from engine.face import LoadOptions
from engine.http.admin_schemas import (
    AdminActionResponse,
    AdminAvailableModels,
    AdminCanaryResponse,
    AdminCandidate,
    AdminExplanation,
    AdminLoadedModels,
    AdminModelDetail,
    AdminModelPerformanceResponse,
    AdminProbeResponse,
    AdminReadiness,
    AdminTrial,
    CanaryRequest,
    ExplainRequest,
    LoadRequest,
    ModelAction,
    ReleaseRequest,
)
from engine.http.caller import actor_of
from engine.http.house import House
from engine.text import clean_line
from engine.trials.trial import Trial, Trials
from engine.types import Backend, ModelView, Readiness

ACCEPTED = 202


def router(house: House) -> APIRouter:
    """The models, and what may be done with them."""
    rooms = APIRouter(prefix="/admin/models", tags=["admin: models"])
    engine = house.engine

    @rooms.get("")
    async def loaded() -> AdminLoadedModels:
        """Every model that is not `unloaded`."""
        models = [
            AdminModelDetail.of(view)
            for view in engine.snapshot().models
            if view.readiness is not Readiness.UNLOADED
        ]
        return AdminLoadedModels(loaded=models, count=len(models))

    @rooms.get("/available")
    async def available() -> AdminAvailableModels:
        """Every model of the catalog, loaded or not."""
        models = [AdminModelDetail.of(view) for view in engine.snapshot().models]
        return AdminAvailableModels(models=models, count=len(models))

    @rooms.post("/rescan")
    async def rescan() -> AdminAvailableModels:
        """Look at the disk again."""
        await engine.rescan()
        return await available()

    @rooms.post("/load", responses={ACCEPTED: {"model": AdminActionResponse}})
    async def load(body: LoadRequest, request: Request, response: Response) -> AdminActionResponse:
        """Admit a model, load it, and wait until it has proved itself.

        A load that is under way is joined, and loading what runs succeeds. 422 when the gate
        refuses, 409 `model_canary_failed` when it does not prove itself, 502 or 504 when its
        worker dies or does not come to an end.
        """
        _check_backend(viewed(house, body.model_id), body.backend)
        touched = await engine.load(
            body.model_id,
            body.options(),
            actor=actor_of(request),
            expect=body.expect,
            wait=body.wait,
        )
        return _answer(house, body.model_id, touched, response, accepted=not body.wait)

    @rooms.post("/unload")
    async def unload(
        body: ModelAction, request: Request, response: Response
    ) -> AdminActionResponse:
        """Let its requests end, then end its worker. Unloading what is unloaded succeeds."""
        work = engine.unload(body.model_id, actor=actor_of(request), expect=body.expect)
        return await _done(house, body.model_id, work, response)

    @rooms.post("/release", responses={ACCEPTED: {"model": AdminActionResponse}})
    async def release(
        body: ReleaseRequest, request: Request, response: Response
    ) -> AdminActionResponse:
        """Let a quarantined model try again: gate, load, canary, probation."""
        actor = actor_of(request)
        touched = await engine.release(
            body.model_id,
            actor=actor,
            expect=body.expect,
            early=body.early,
            allow_unsupported_runtime=body.allow_unsupported_runtime,
        )
        if body.wait:
            await _joined(house, touched, actor)
        return _answer(house, body.model_id, touched, response, accepted=not body.wait)

    @rooms.post("/hold")
    async def hold(body: ModelAction, request: Request, response: Response) -> AdminActionResponse:
        """Quarantine a model by hand, until it is released."""
        work = engine.hold(body.model_id, actor=actor_of(request), expect=body.expect)
        return await _done(house, body.model_id, work, response)

    @rooms.post("/canary")
    async def canary(body: CanaryRequest, request: Request) -> AdminCanaryResponse:
        """Run the canary again on a routable model, in service; a failure quarantines it.

        With `load`, what is not loaded is loaded, proved and unloaded again, and `trial` says what
        came of it, pass or not.
        """
        actor = actor_of(request)
        if body.load:
            return await _trial(house, body, actor)
        if body.runtime is not None:
            raise EngineError(_only_with_load())
        touched = await engine.canary(body.model_id, actor=actor, expect=body.expect)
        views = [viewed(house, model_id) for model_id in touched or (body.model_id,)]
        for view in views:
            if view.readiness is not Readiness.ROUTABLE:
                raise EngineError(_not_proved(view))
        return AdminCanaryResponse(
            model_id=views[0].id, passed=True, canary=views[0].canary, touched=touched
        )

    @rooms.post("/explain")
    async def explain(body: ExplainRequest) -> AdminExplanation:
        """Ask the gate about a model, without loading it. Answers 200 also when it refuses."""
        view = viewed(house, body.model_id, paths=True)
        _check_backend(view, body.backend)
        return AdminExplanation.of(await engine.explain(view.id, body.options()))

    @rooms.post("/probe")
    async def probe(body: ExplainRequest) -> AdminProbeResponse:
        """Try every runtime that could run a model in a child process, and ask the gate about
        each. Loads no weights; takes seconds."""
        view = viewed(house, body.model_id, paths=True)
        _check_backend(view, body.backend)
        found = [AdminCandidate.of(e) for e in await engine.desk.probe(view.id, body.options())]
        fit = next((c.runtime for c in found if c.outcome == "pass"), None)
        return AdminProbeResponse(model_id=view.id, recommended=fit, candidates=found)

    @rooms.get("/{model_id:path}/performance")
    async def performance(model_id: str) -> AdminModelPerformanceResponse:
        """What a model has done since the engine started."""
        view = viewed(house, model_id)
        canary = view.canary
        return AdminModelPerformanceResponse(
            model_id=view.id,
            readiness=AdminReadiness.of(view),
            performance=engine.desk.performance(view.id),
            tokens_per_second=view.tokens_per_second,
            canary_ttft_ms=canary.ttft_ms if canary else None,
            canary_tokens_per_second=canary.tokens_per_second if canary else None,
            requests_in_flight=view.requests,
            estimate_bytes=view.estimate.total if view.estimate else None,
            measured_bytes=view.measured_bytes,
        )

    return rooms


def detail_router(house: House) -> APIRouter:
    """One model by its id. An id may hold slashes, so this comes after every path with a name."""
    rooms = APIRouter(prefix="/admin/models", tags=["admin: models"])

    @rooms.get("/{model_id:path}")
    async def detail(model_id: str) -> AdminModelDetail:
        """One model of the catalog."""
        return AdminModelDetail.of(viewed(house, model_id))

    return rooms


async def _done(
    house: House, name: str, work: Awaitable[tuple[str, ...]], response: Response
) -> AdminActionResponse:
    return _answer(house, name, await work, response, accepted=False)


async def _joined(house: House, touched: tuple[str, ...], actor: str) -> None:
    """Wait for what is loading: for these rows, whatever other copies do.

    Raises:
        EngineError: none of them has proved itself.
    """

    async def join(model_id: str) -> None:
        there = LoadOptions(host=viewed(house, model_id).host)
        await house.engine.load(model_id, there, actor=actor, wait=True)

    ends = await asyncio.gather(*map(join, touched), return_exceptions=True)
    unless_one_did(len(touched), [error for error in ends if error is not None])


def _answer(
    house: House, name: str, touched: tuple[str, ...], response: Response, *, accepted: bool
) -> AdminActionResponse:
    """What an action came to.

    Args:
        name: What it was asked of.
        touched: The rows it was done to; the first of them is shown.
    """
    detail = AdminModelDetail.of(viewed(house, touched[0] if touched else name))
    if accepted and detail.readiness.state is not Readiness.ROUTABLE:
        response.status_code = ACCEPTED
    return AdminActionResponse(
        model_id=detail.id, readiness=detail.readiness, model=detail, touched=touched
    )


def viewed(house: House, name: str, *, paths: bool = False) -> ModelView:
    """The model of this id; of one with copies on other hosts only, that which would answer.

    Args:
        paths: A path serves too, if the catalog has it: it is compared, and opens nothing.

    Raises:
        EngineError: ``model_not_found``.
    """
    models = house.engine.snapshot().models
    for view in models:
        if view.id == name or (paths and view.path == name):
            return view
    foremost = house.engine.desk.copies(name)[:1]
    for view in models:
        if view.id in foremost:
            return view
    raise EngineError(
        refuse(
            Code.MODEL_NOT_FOUND,
            f"no model named {clean_line(name, limit=120)!r}",
            expected="an id of the catalog",
            found=f"{len(models)} models, none of this name",
            remedy="see /admin/models/available, or rescan after a download",
            param="model_id",
        )
    )


def _check_backend(view: ModelView, backend: Backend | None) -> None:
    if backend is not None and backend is not view.backend:
        decision = refuse(
            Code.MODEL_UNSUPPORTED_BACKEND,
            f"{view.id} is a {view.backend} model and cannot run on {backend}",
            check="runnable",
            expected=view.backend.value,
            found=backend.value,
            remedy="leave backend out",
            param="backend",
        )
        raise EngineError(replace(decision, overridable=False))


def _not_proved(view: ModelView) -> Decision:
    canary = view.canary
    failed = view.readiness is Readiness.QUARANTINED and canary is not None and not canary.passed
    return refuse(
        Code.MODEL_CANARY_FAILED if failed else Code.MODEL_UNSTABLE,
        f"{view.id} did not prove itself again: {view.reason}",
        retryable=False if failed else None,
        expected="every required canary step passed",
        found=view.reason or view.readiness.value,
        remedy="look at its evidence; it may be released after its cool-down",
        evidence_id=view.evidence.id if view.evidence else None,
    )


def _only_with_load() -> Decision:
    return refuse(
        Code.INVALID_REQUEST,
        "a model in service is proved on the runtime it runs in",
        expected="no runtime, or load: true",
        found="a runtime without load",
        remedy="leave runtime out, or say load: true",
        param="runtime",
    )


async def _trial(house: House, body: CanaryRequest, actor: str) -> AdminCanaryResponse:
    view = viewed(house, body.model_id)
    if body.expect not in (None, view.version):
        raise EngineError(
            refuse(
                Code.CONFLICT,
                f"{view.id} changed meanwhile: it is now {view.readiness.value}",
                expected=f"version {body.expect}",
                found=f"version {view.version}",
                remedy="look at it again, then decide",
            )
        )
    copies = house.engine.desk.copies(body.model_id) if body.expect is None else ()
    loaded = [name for name in copies if viewed(house, name).readiness is Readiness.ROUTABLE]
    archive = await asyncio.to_thread(house.engine.desk.archive)
    trials = Trials(
        house.engine,
        archive,
        actor=actor,
        runtime=body.runtime,
        slower_factor=house.settings.canary.slower_factor,
    )
    told = [await trials.prove(name) for name in loaded or (view.id,)]
    view = viewed(house, told[0].model_id)
    return AdminCanaryResponse(
        model_id=view.id,
        passed=all(trial.outcome == "passed" for trial in told),
        canary=view.canary,
        touched=tuple(trial.model_id for trial in told),
        trial=_told(told[0]),
        trials=tuple(map(_told, told)),
    )


def _told(trial: Trial) -> AdminTrial:
    row = {"model": trial.model_id} | {
        name: getattr(trial, name) for name in AdminTrial.model_fields if name != "model"
    }
    return AdminTrial.model_validate(row)
