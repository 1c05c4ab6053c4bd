"""One model's life from admission to its end: load, prove, serve, and start again after a death.

One task per live model. Whatever its worker does, the task ends with the model unloaded or
quarantined, its memory promise returned and its worker gone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.aftermath import Aftermath, Mission
from engine.canary import STEPS, Canary, Subject, Verdict
from engine.catalog.fingerprint import fingerprint
from engine.chat import LiveChat
from engine.errors import Code, Decision, EngineError
from engine.model import BLANK, Model, not_ready
from engine.readiness import Cause
from engine.services import Services
from engine.text import clean
from engine.traffic import Traffic
from engine.types import CanaryStep, CanaryView, Readiness
from engine.workers.exits import Fault, classify_exit, classify_load_failure
from engine.workers.placement import Spawn, SpawnError
from engine.workers.protocol import Generate, Hello, Load, Loaded, Progress
from engine.workers.supervisor import LoadFailed, Supervisor, WorkerDied


class Lifecycle:
    """Drives one model. ``start`` after the gate has passed and the memory is reserved."""

    def __init__(self, model: Model, services: Services, mission: Mission) -> None:
        self.model = model
        self.mission = mission
        self.settled: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        """None once routable for the first time, else the Decision that ended it."""
        self.traffic = Traffic(model, services)
        self._services = services
        self._aftermath = Aftermath(model, services, mission)
        self._worker: Supervisor | None = None
        self._loaded: Loaded | None = None
        self._task: asyncio.Task[None] | None = None
        self._load_took_s = 0.0

    def start(self, on_end: Callable[[], None]) -> None:
        """Begin; ``on_end`` is called once the model is no longer live."""
        self._task = asyncio.create_task(self._live(), name=f"model-{self.model.id}")
        self._task.add_done_callback(lambda _: on_end())

    # -- what an operator or a client may do ----------------------------------------------------

    def chat(self, frame: Generate, client: str, *, trusted: bool) -> LiveChat:
        """Submit a request to the routable worker.

        Raises:
            EngineError: it is not routable, or drains, or the request is suspect.
        """
        view = self.model.view
        if self._worker is None or view.draining or view.readiness is not Readiness.ROUTABLE:
            raise EngineError(not_ready(view))
        return self.traffic.submit(self._worker, frame, client, trusted=trusted)

    def cancel(self, request_id: str) -> None:
        """Cancel one request in flight."""
        if self._worker is not None:
            self._worker.cancel(request_id)

    async def unload(self, actor: str) -> None:
        """Drain, end the worker, and leave the model unloaded."""
        await self._finish(self._services.settings.deadlines.drain_s)
        view = self.model.view
        if view.readiness is Readiness.QUARANTINED or view.readiness is Readiness.UNLOADED:
            return  # it ended by itself while it drained
        if view.probation:
            self._aftermath.relapse("unloaded while on probation", actor)
            return
        self.model.move(Readiness.UNLOADED, Cause.UNLOADED, actor, **BLANK, reason="")
        self._services.say("model_unloaded", "unloaded", model_id=self.model.id, actor=actor)

    async def hold(self, actor: str) -> None:
        """Drain and leave the model quarantined; the hold itself is already on record."""
        await self._finish(self._services.settings.deadlines.drain_s)
        if self.model.readiness is not Readiness.QUARANTINED:
            why = "held by an operator"
            self.model.move(Readiness.QUARANTINED, Cause.HELD, actor, **BLANK, reason=why)

    async def stop(self, drain_s: float) -> None:
        """The engine is ending: drain and end the worker. What was on probation relapses."""
        await self._finish(drain_s)
        if self.model.view.probation and self.model.readiness is not Readiness.QUARANTINED:
            self._aftermath.relapse("the engine ended while it was on probation", "engine")

    async def prove_again(self, actor: str) -> None:
        """Run the canary on the routable worker, in service; a failure quarantines.

        Raises:
            EngineError: it is not routable.
        """
        worker, loaded = self._worker, self._loaded
        if worker is None or loaded is None or self.model.readiness is not Readiness.ROUTABLE:
            raise EngineError(not_ready(self.model.view))
        try:
            verdict = await self._prove(worker, await worker.greeting(), loaded)
        except WorkerDied:
            return  # the life itself deals with the death
        except TimeoutError:
            worker.kill("hang: a canary step was never answered")
            return
        if verdict.passed:
            await self._aftermath.write_canary(verdict, actor)
            return
        self.model.change(draining=True)
        await self.traffic.drain(worker, self._services.settings.deadlines.drain_s)
        if self.model.readiness is Readiness.ROUTABLE:
            await self._aftermath.fail_canary(verdict)
        await self._finish(0)

    # -- the life -------------------------------------------------------------------------------

    async def _live(self) -> None:
        mission = self.mission
        failures = 0
        try:
            self.model.move(
                Readiness.LOADING,
                Cause.STARTED,
                "engine",
                context=mission.context,
                estimate=mission.estimate,
                override=mission.override,
                probation=mission.release,
                refusal=None,
                reason="",
            )
            while True:
                fault = await self._attempt()
                if fault is None or self.model.view.draining:
                    return
                if fault.environment:
                    self._settle(await self._aftermath.leave(fault))
                    return
                waits = self._services.settings.quarantining.backoff_s
                wait = waits[min(failures, len(waits) - 1)]
                window = max(self._services.settings.quarantining.window_s, 3 * self._load_took_s)
                charged = self._services.suspects.died(self.model.id, self.traffic.suspected)
                if charged:
                    await self._aftermath.charge(fault, charged, wait)
                elif (out := await self._aftermath.strike(fault, window, wait)) is not None:
                    self._settle(out)
                    return
                await asyncio.sleep(wait)
                failures += 1
                now = await asyncio.to_thread(fingerprint, self.model.entry)
                if now != self.model.fingerprint:
                    self._aftermath.unload_changed()
                    return
        finally:
            self._services.budget.release(self.model.id)
            self._settle(not_ready(self.model.view))

    async def _attempt(self) -> Fault | None:
        """Load, prove and serve once; returns the fault that ended it, or None if quarantined."""
        model, services = self.model, self._services
        started = services.clock()
        model.change(progress=None, stage="starting", retry_at=None, canary=None)
        spawn = Spawn(model.entry.backend, Path(model.runtime.python), model.runtime.name)
        try:
            worker = self._worker = await services.spares.take(spawn)
        except SpawnError as error:
            return Fault(Code.UNKNOWN_FAILURE, "no worker", str(error), environment=True)
        worker.on_death = self.traffic.note_victims
        worker.on_stats = lambda stats: model.change(measured_bytes=stats.memory_bytes)
        model.change(pid=worker.pid)
        intent = services.intents.begin(model.id, model.key)
        self.traffic.begin(intent)
        services.intents.update(intent, pid=worker.pid)
        try:
            hello = await worker.greeting()
            loaded = self._loaded = await self._load(worker)
            self._load_took_s = services.clock() - started
            model.move(
                Readiness.CANARY_PENDING,
                Cause.LOADED,
                "engine",
                progress=None,
                stage="",
                chat=loaded.chat,
                context=loaded.context,
                measured_bytes=loaded.memory_bytes or None,
            )
            services.say("model_loaded", "loading → canary_pending", model_id=model.id)
            verdict = await self._prove(worker, hello, loaded)
            if not verdict.passed:
                self._settle(await self._aftermath.fail_canary(verdict))
                return None
            await self._proved(verdict)
            services.spares.prepare(spawn)
            end = await asyncio.shield(worker.ended)
        except LoadFailed as failed:
            kind, message = failed.failed.kind, clean(failed.failed.message)
            self._aftermath.keep_evidence(None, kind, message, failed.stderr_tail, ())
            return classify_load_failure(kind, message, failed.stderr_tail)
        except WorkerDied as died:
            end = died.end
        except TimeoutError:
            worker.kill("hang: a canary step was never answered")
            end = await asyncio.shield(worker.ended)
        finally:
            await worker.stop(services.settings.deadlines.stop_s)
            services.intents.end(intent)
            services.budget.measure(model.id, 0)
            self._worker = self._loaded = None
            model.change(pid=None, measured_bytes=None)
        fault = classify_exit(end, loading=model.readiness is Readiness.LOADING)
        if not model.view.draining:
            self._aftermath.keep_evidence(
                end, fault.cause, fault.detail, end.stderr_tail, self.traffic.victims
            )
        return fault

    async def _load(self, worker: Supervisor) -> Loaded:
        entry, settings = self.model.entry, self._services.settings
        limits = settings.deadlines
        deadline = limits.load_s + entry.weight_bytes / limits.load_bytes_per_s
        frame = Load(
            model_id=entry.id,
            path=str(entry.path),
            context=self.mission.context,
            slots=settings.slots,
            threads=settings.threads,
            fingerprint=self.model.fingerprint,
            state_dir=str(self.mission.state_dir),
            build_from=str(entry.build_from) if entry.build_from else "",
        )
        if entry.build_from:
            deadline += limits.build_s
        return await worker.load(frame, self._progressed, deadline)

    def _progressed(self, progress: Progress) -> None:
        self.model.change(progress=progress.fraction, stage=progress.stage)

    async def _prove(self, worker: Supervisor, hello: Hello, loaded: Loaded) -> Verdict:
        model, services = self.model, self._services
        limits = services.settings.deadlines
        last = services.registry.verdict(model.key)
        speed = last.metadata.get("tokens_per_second") if last else None
        subject = Subject(
            hello=hello,
            loaded=loaded,
            backend_version=model.runtime.version,
            estimate_bytes=self.mission.estimate.total,
            measured_bytes=lambda: model.view.measured_bytes or loaded.memory_bytes,
            deadline_s=limits.canary_s + model.entry.weight_bytes / limits.canary_bytes_per_s,
            template_s=limits.template_s,
            last_tokens_per_second=speed if isinstance(speed, float) else None,
        )
        run = CanaryView(
            model_id=model.id,
            run_id=services.new_id(),
            started_at=services.clock(),
            steps=tuple(CanaryStep(name, required=name != "memory") for name in STEPS),
        )

        def show(steps: tuple[CanaryStep, ...]) -> None:
            model.change(canary=replace(run, steps=steps))

        show(run.steps)
        canary = Canary(worker, subject, services.settings.canary, run.run_id, show)
        verdict = await canary.run()
        model.change(
            canary=replace(
                run,
                steps=verdict.steps,
                ended_at=services.clock(),
                passed=verdict.passed,
                reason=verdict.reason,
                ttft_ms=verdict.ttft_ms,
                tokens_per_second=verdict.tokens_per_second,
            )
        )
        return verdict

    async def _proved(self, verdict: Verdict) -> None:
        # The row is durable before the first request: routable means proved, also after a crash.
        await self._aftermath.write_canary(verdict, self.mission.actor)
        self.model.move(
            Readiness.ROUTABLE,
            Cause.PROVED,
            "engine",
            tokens_per_second=verdict.tokens_per_second,
            reason="",
        )
        self.traffic.rest()
        self._services.say("model_proved", "canary_pending → routable", model_id=self.model.id)
        self._settle(None)

    # -- requests and the end -------------------------------------------------------------------

    async def _finish(self, drain_s: float) -> None:
        """Drain and end the task; the worker is gone when this returns."""
        self.model.change(draining=True)
        if self._worker is not None and self.model.requests:
            await self.traffic.drain(self._worker, drain_s)
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        self.model.change(draining=False)

    def _settle(self, decision: Decision | None) -> None:
        if not self.settled.done():
            self.settled.set_result(decision)
