"""One model's life from admission to its end: load, prove, serve, and start again after a death.

One task per live model. Whatever its worker does, the task ends with the model unloaded or
quarantined, its memory promise returned and its worker gone.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.canary import STEPS, Canary, Subject, Verdict
from engine.errors import Code, Decision, EngineError
from engine.face import Lane
from engine.lives.aftermath import Aftermath, Mission
from engine.lives.errand import to_its_end
from engine.lives.host_loss import lose_host
from engine.lives.model import Model, not_ready
from engine.requests.chat import LiveChat
from engine.requests.traffic import Traffic
from engine.services import Services
from engine.text import clean, clean_line
from engine.types import CanaryStep, CanaryView, Readiness
from engine.workers.exits import HOST_LOST, Fault, classify_exit, classify_load_failure
from engine.workers.placement import Spawn, SpawnError
from engine.workers.protocol import Generate, Hello, Load, Loaded, Progress
from engine.workers.supervisor import LoadFailed, Supervisor, WorkerDied

_HIRES = 3
"""Workers tried before a backend that does not start is given up."""
_NO_BACKEND = 69
"""A worker's exit status when its backend cannot be imported (engine/workers/child.py)."""
_CANCEL_AGAIN_S = 0.5


class Lifecycle:
    """Drives one model. ``start`` after the gate has passed and the memory is reserved."""

    def __init__(self, model: Model, services: Services, mission: Mission) -> None:
        self.model = model
        self.mission = mission
        self.settled: asyncio.Future[Decision | None] = _future()
        """None once routable, else the Decision that ended it; a new one after every death."""
        self.traffic = Traffic(model, services)
        self._services = services
        self._host = services.hosts.of(model)
        self._aftermath = Aftermath(model, services, mission)
        self._worker: Supervisor | None = None
        self._loaded: Loaded | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._on_end: Callable[[], None] = lambda: None
        self._intent = ""
        self._load_took_s = self._began = 0.0

    def start(self, on_end: Callable[[], None]) -> None:
        """Begin; ``on_end`` is called once the model is no longer live."""
        self._on_end = on_end
        self._task = asyncio.create_task(self._live(), name=f"model-{self.model.id}")
        self._task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        """The task has ended, however it did, even before its first step."""
        self._services.hosts.release(self.model.id)
        self._services.board.changed()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._settle(self._aftermath.give_up(error))
        self._settle(not_ready(self.model.view))
        if self._ending is None:  # else it is not over before it was left as was asked
            self._on_end()

    # -- what an operator or a client may do ----------------------------------------------------

    def chat(
        self, frame: Generate, client: str, *, lane: Lane, deadline_s: float, trusted: bool
    ) -> LiveChat:
        """Submit a request to the routable worker; see :meth:`Traffic.submit`.

        Raises:
            EngineError: it is not routable, or drains, or the request is suspect, or too many
                wait already.
            ProtocolError: the request is too long to send.
        """
        return self.traffic.submit(
            self.worker(), frame, client, lane=lane, deadline_s=deadline_s, trusted=trusted
        )

    def worker(self) -> Supervisor:
        """The worker that serves. Raises EngineError: it is not routable, or drains."""
        view = self.model.view
        if self._worker is None or view.draining or view.readiness is not Readiness.ROUTABLE:
            raise EngineError(not_ready(view))
        return self._worker

    def cancel(self, request_id: str) -> None:
        """Cancel one request in flight."""
        self.traffic.cancel(request_id)

    async def unload(self, actor: str) -> None:
        """Drain, end the worker, and leave the model unloaded."""
        drain_s = self._services.settings.deadlines.drain_s
        await self._end(drain_s, lambda: self._aftermath.unload(actor))

    async def hold(self, actor: str) -> None:
        """Drain and leave the model quarantined; the hold itself is already on record."""
        drain_s = self._services.settings.deadlines.drain_s
        await self._end(drain_s, lambda: self._aftermath.hold(actor))

    async def stop(self, drain_s: float) -> None:
        """The engine is ending: drain and end the worker. What was on probation relapses."""
        if drain_s <= 0:
            self.traffic.hurry()
        await self._end(drain_s, lambda: self._aftermath.unload("engine"))

    async def over(self) -> None:
        """Wait until nothing of this life is left."""
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._ending is not None:
            await asyncio.shield(self._ending)

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
        # On record before anything can interrupt it; requests drain afterwards.
        failing = asyncio.ensure_future(self._aftermath.fail_canary(verdict))
        drain_s = self._services.settings.deadlines.drain_s
        await self._end(drain_s, lambda: None)
        await failing

    # -- the life -------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            fault = await self._attempt()
            if fault is None or self.model.view.draining:
                return
            if fault.environment:
                await self._leave(fault)
                return
            if self.settled.done():
                self.settled = _future()
            limits = self._services.settings.quarantining
            window = max(limits.window_s, 3 * self._load_took_s)
            charged = self._services.suspects.died(self.model.id, self.traffic.suspected)
            if charged:
                wait = await self._aftermath.charge(fault, charged)
            else:
                wait, out = await self._aftermath.strike(fault, window)
                if out is not None:
                    self._settle(out)
                    return
            await asyncio.sleep(wait)
            if (missing := await self._unreturned()) is not None:
                await self._leave(missing)
                return
            try:
                now = await self._host.quarters.fingerprint(self.model.entry)
            except EngineError as gone:
                await self._leave(Fault(Code.MODEL_UNSTABLE, HOST_LOST, gone.decision.found, True))
                return
            if now != self.model.fingerprint:
                self._aftermath.unload_changed()
                return

    async def _leave(self, fault: Fault) -> None:
        if fault.cause == HOST_LOST:
            self._settle(await lose_host(self.model, self._services, fault))
        else:
            self._settle(await self._aftermath.leave(fault))

    async def _unreturned(self) -> Fault | None:
        """Wait for the memory of the worker that died; a fault where there is no room without it,
        although the promise still stands."""
        budget, reclaim = self._host.budget, self._host.reclaim
        await reclaim.settled()
        if not reclaim.missing:
            return None
        refusal = budget.check(self.model.id, self.mission.here)
        if refusal is None:
            return None
        why = "memory not returned"
        return Fault(refusal.code, why, refusal.message, environment=True)

    async def _attempt(self) -> Fault | None:
        """Load, prove and serve once; returns the fault that ended it, or None if quarantined."""
        model, services = self.model, self._services
        runtime, ranks = model.runtime, self.mission.estimate.ranks
        kind, posts = model.entry.backend, self.mission.posts
        spawn = Spawn(kind, Path(runtime.python), runtime.name, ranks, posts=posts)
        # The strikes' window counts what a busy machine takes to start a worker as loading, too.
        self._began = time.monotonic()
        # Durable before the worker is: if the machine goes down with it, this is how we know.
        intent = asyncio.ensure_future(
            asyncio.to_thread(services.intents.begin, model.id, model.key)
        )
        try:
            self._intent = await asyncio.shield(intent)
            self._host.reclaim.begin(model.entry, self.mission.here)
            hello, fault = await self._hire(spawn)
            if hello is None or self._worker is None:
                return fault
            return await self._serve(self._worker, hello, spawn)
        finally:
            await to_its_end(self._clean_up(intent))

    async def _clean_up(self, intent: "asyncio.Future[str]") -> None:
        """The worker is gone and nothing is left of the attempt."""
        services = self._services
        if self._worker is not None:
            await self._worker.stop(services.settings.deadlines.stop_s)
        self._host.budget.measure(self.model.id, 0)
        if (measured := self.model.view.measured_bytes) is not None:
            self._host.reclaim.note(self.model.id, measured)
        self._host.reclaim.ended(self.model.id)
        self._worker = self._loaded = None
        self.model.change(pid=None, measured_bytes=None)
        await asyncio.to_thread(services.intents.end, await intent)

    async def _hire(self, spawn: Spawn) -> tuple[Hello | None, Fault]:
        """Have a worker that has said hello. One that dies before was told of no model yet, so
        its death is no model's fault; another is tried, and then it is the backend's."""
        model, services = self.model, self._services
        fault = Fault(Code.UNKNOWN_FAILURE, "no worker", "", environment=True)
        for _ in range(_HIRES):
            try:
                worker = self._worker = await self._host.spares.take(spawn)
            except SpawnError as error:
                return None, Fault(fault.code, "no worker", str(error), environment=True)
            worker.on_death = self.traffic.worker_died
            worker.on_stats = lambda stats: model.change(measured_bytes=stats.memory_bytes)
            services.intents.update(self._intent, pid=worker.pid)
            self.traffic.begin(self._intent)
            self._aftermath.begin(worker.pid)
            try:
                return await worker.greeting(), fault
            except WorkerDied as died:
                end = died.end
            cause = f"backend did not start: {end.cause}"
            self._aftermath.keep_evidence(end, cause, end.last_words, end.stderr_tail, ())
            broken = end.status == _NO_BACKEND or end.signal == "SIGILL"
            code = Code.MODEL_UNSUPPORTED_BACKEND if broken else Code.UNKNOWN_FAILURE
            fault = Fault(code, cause, end.last_words, environment=True)
        return None, fault

    async def _serve(self, worker: Supervisor, hello: Hello, spawn: Spawn) -> Fault | None:
        model, services = self.model, self._services
        try:
            loaded = self._loaded = await self._timed_load(worker)
            self._aftermath.loaded(loaded)
            services.intents.update(self._intent, phase=Readiness.CANARY_PENDING.value)
            verdict = await self._prove(worker, hello, loaded)
            if not verdict.passed:
                self._settle(await self._aftermath.fail_canary(verdict))
                return None
            await self._proved(verdict)
            self._host.spares.prepare(spawn)
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
        fault = classify_exit(end, loading=model.readiness is Readiness.LOADING)
        if not model.view.draining:
            victims = self.traffic.victims
            self._aftermath.keep_evidence(end, fault.cause, fault.detail, end.stderr_tail, victims)
        return fault

    async def _timed_load(self, worker: Supervisor) -> Loaded:
        try:
            return await self._load(worker)
        finally:
            self._load_took_s = max(self._load_took_s, time.monotonic() - self._began)

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
            places=self.mission.places,
        )
        if entry.build_from:
            deadline += limits.build_s
        return await worker.load(frame, self._progressed, deadline)

    def _progressed(self, progress: Progress) -> None:
        stage = clean_line(progress.stage, limit=40)
        self.model.change(progress=progress.fraction, stage=stage)

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
        self._services.intents.update(self._intent, phase=Readiness.ROUTABLE.value)
        self._aftermath.proved(verdict)
        self.traffic.rest()
        self._settle(None)

    # -- the end --------------------------------------------------------------------------------

    async def _end(self, drain_s: float, leave: Callable[[], None]) -> None:
        """End this life. Whoever asks first says how it is left; all wait for the one ending.

        The ending is a task of its own: who asked may be cancelled, the ending goes on.
        """
        if self._ending is None:
            self._ending = asyncio.create_task(self._finish(drain_s, leave))
        await asyncio.shield(self._ending)

    async def _finish(self, drain_s: float, leave: Callable[[], None]) -> None:
        self.model.change(draining=True, drain_until=self._services.clock() + drain_s)
        if self._worker is not None:
            await self.traffic.drain(drain_s)
        while self._task is not None and not self._task.done():
            # Again, if it was lost: a library may take a cancellation for its own.
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CANCEL_AGAIN_S)
        self.model.change(draining=False, drain_until=None)
        try:
            leave()
        finally:
            self._on_end()

    def _settle(self, decision: Decision | None) -> None:
        if not self.settled.done():
            self.settled.set_result(decision)


def _future() -> "asyncio.Future[Decision | None]":
    return asyncio.get_running_loop().create_future()
