"""The engine: admit, load, prove, route, contain, remember. Where the parts meet.

One instance owns one home folder. Everything here runs on one event loop; disk and children are
waited for off it, so a screen that shares the loop never stutters.
"""

import asyncio
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace

from engine.admission.facts import Facts
from engine.admission.signatures import load_signatures
from engine.announcer import Announcer
from engine.board import Board
from engine.catalog.fingerprint import fingerprint
from engine.chat import LiveChat
from engine.errors import Code, EngineError, refuse
from engine.events import EventLog
from engine.examiner import Examiner
from engine.face import ChatOptions, ChatTurn, LoadOptions
from engine.home import Home
from engine.intake import Intake
from engine.intents import Intents, boot_id
from engine.inventory import Inventory
from engine.lifecycle import Lifecycle
from engine.memory import Budget, default_budget, machine_memory
from engine.model import Model, not_ready
from engine.quarantine import Quarantine
from engine.readiness import LIVE, Cause
from engine.registry import Registry, RegistryTrouble
from engine.services import Services
from engine.settings import Settings, load_settings
from engine.statefile import StateFile
from engine.suspects import Suspects
from engine.text import clean_line
from engine.types import (
    EngineSnapshot,
    Event,
    Explanation,
    Notice,
    Readiness,
    RuntimeView,
)
from engine.upkeep import Upkeep
from engine.workers.capability import Capabilities
from engine.workers.placement import Placement
from engine.workers.process import LocalPlacement
from engine.workers.protocol import Generate, Message, Sampling
from engine.workers.spares import Spares

EVENTS_SHOWN = 200


class Engine:
    """The engine's own face; see :class:`engine.face.EngineFace` for what each call promises."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        placement: Placement | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self._clock = clock
        self._new_id = new_id
        self._placement = placement
        self._home = Home(self.settings.home, clock=clock)
        self._board = Board(clock, self._fill)
        self._lives: dict[str, Lifecycle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runtimes: tuple[RuntimeView, ...] = ()
        self._opened = self._started = self._stopping = False
        self._starting = asyncio.Lock()

    # -- start and stop -------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the home, read what is known, find the models.

        Raises:
            HomeTaken: another process serves this home.
            HomeUnusable: the home folder cannot be made or written.
        """
        async with self._starting:
            if self._started:
                return
            self._home.take(address="")
            await asyncio.to_thread(self._open)
            self._opened = True
            self._inventory.judge_leftovers()
            await self.rescan()
            self._started = True
            self._board.changed()
            self._spawn(self._upkeep.run())
            for spawn in self._inventory.spawns:
                self._services.spares.prepare(spawn)

    def _open(self) -> None:
        home, settings = self._home, self.settings
        state = StateFile(home.state, self._clock)
        registry = Registry(home.registry, self._clock)
        announcer = Announcer(settings, _host())
        events = EventLog(home.events, self._clock, settings.events_kept, on_add=announcer.offer)
        signatures, complaint = load_signatures(settings.signatures)
        capabilities = Capabilities(home.path, self._clock)
        self._services = Services(
            settings=settings,
            clock=self._clock,
            new_id=self._new_id,
            board=self._board,
            events=events,
            registry=registry,
            quarantine=Quarantine(state, settings.quarantining, self._clock),
            intents=Intents(state, self._clock, boot_id()),
            budget=Budget(default_budget(settings.memory_gb), lambda: machine_memory().available),
            spares=Spares(
                self._placement or LocalPlacement(), settings.deadlines, keep=settings.spare
            ),
            suspects=Suspects(state, self._clock),
        )
        self._examiner = Examiner(settings, capabilities, signatures, self._facts)
        self._inventory = Inventory(self._services, self._examiner, self._moved)
        self._upkeep = Upkeep(self._services, state, home, self._lives, self._retire, announcer)
        self._intake = Intake(self._services, self._examiner, home.sim_state)
        self._runtimes = tuple(
            RuntimeView(r.name, r.backend, r.version, r.error)
            for r in self._examiner.find_runtimes()
        )
        for part, problems in (
            ("registry", registry.warnings),
            ("state", state.warnings),
            ("signatures", (complaint,) if complaint else ()),
        ):
            if problems:
                message = clean_line("; ".join(problems))
                self._board.notice(Notice(part, message))
                events.add("file_salvaged", message, level="warn")
        if state.lost:
            self._services.quarantine.rebuild(registry)

    async def stop(self, *, drain_s: float = 0.0) -> None:
        """End requests and workers, in order, and let go of the home. Safe to call twice."""
        if self._stopping or not self._opened:
            self._home.let_go()
            return
        self._stopping = True
        self._board.changed()
        await asyncio.gather(*(life.stop(drain_s) for life in tuple(self._lives.values())))
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._services.spares.close()
        await asyncio.to_thread(self._close)
        self._started = False

    def _close(self) -> None:
        with suppress(RegistryTrouble):  # its banner has said so for as long as there was a screen
            self._services.registry.flush_pending()
        self._services.registry.close()
        self._services.events.close()
        self._upkeep.announcer.close()
        self._home.let_go()

    # -- what is shown --------------------------------------------------------------------------

    def snapshot(self) -> EngineSnapshot:
        """The state as of now; the same object while nothing changed."""
        return self._board.snapshot()

    def _fill(self, bare: EngineSnapshot) -> EngineSnapshot:
        known = replace(
            bare,
            started=self._started,
            stopping=self._stopping,
            home=str(self._home.path),
            host=_host(),
            runtimes=self._runtimes,
        )
        if not self._opened:
            return known
        services = self._services
        measured = sum(model.measured_bytes or 0 for model in bare.models)
        return replace(
            known,
            quarantine=services.quarantine.views(
                {model.id: model.key for model in self._board.models.values() if model.fingerprint}
            ),
            registry=services.registry.rows(limit=self.settings.registry_rows_shown),
            registry_total=services.registry.total,
            events=services.events.latest(EVENTS_SHOWN),
            memory=services.budget.view(measured),
            outdated=self._upkeep.upgrade.models,
        )

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """Events still in memory with a sequence above ``after``, oldest first."""
        return self._services.events.after(after)

    async def rescan(self) -> None:
        """Look at the disk again; what is live keeps its row."""
        await self._inventory.rescan()

    # -- the gate -------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        services = self._services
        return Facts(
            quarantined=services.quarantine.decision,
            verdict=services.registry.verdict,
            budget=services.budget.total,
            reserved=sum(services.budget.reserved.values()),
            available=machine_memory().available,
        )

    async def explain(self, model_id: str, options: LoadOptions | None = None) -> Explanation:
        """Run the gate without loading."""
        model = self._inventory.find(model_id)
        return await asyncio.to_thread(self._examiner.examine, model.entry, options)

    def _decided_on(self, model: Model, expect: int | None) -> None:
        """Refuse an action that was decided on a state the model has left."""
        if self._stopping:
            raise EngineError(refuse(Code.SHUTTING_DOWN, "the engine is ending", retry_after_s=5.0))
        if expect is not None and expect != model.view.version:
            raise EngineError(
                refuse(
                    Code.CONFLICT,
                    f"{model.id} changed meanwhile: it is now {model.readiness.value}",
                    expected=f"version {expect}",
                    found=f"version {model.view.version}",
                    remedy="look at it again, then decide",
                )
            )

    # -- actions --------------------------------------------------------------------------------

    async def load(
        self,
        model_id: str,
        options: LoadOptions | None = None,
        *,
        actor: str,
        expect: int | None = None,
        wait: bool = False,
    ) -> None:
        """Admit and start loading; joining a load under way and loading what runs succeed."""
        model = self._inventory.find(model_id)
        self._decided_on(model, expect)
        async with model.lock:
            if model.readiness not in LIVE:
                self._begin(await self._intake.admit(model, options or LoadOptions(), actor))
        if wait:
            await self._settled(model)

    async def _settled(self, model: Model) -> None:
        if (life := self._lives.get(model.id)) is not None:
            decision = await asyncio.shield(life.settled)
            if decision is not None:
                raise EngineError(decision)

    async def unload(self, model_id: str, *, actor: str, expect: int | None = None) -> None:
        """Drain and end the worker. Unloading what is unloaded changes nothing."""
        model = self._inventory.find(model_id)
        self._decided_on(model, expect)
        if (life := self._lives.get(model_id)) is not None:
            self._services.say("unload_begun", "draining", model_id=model_id, actor=actor)
            await life.unload(actor)
        elif model.view.refusal is not None:
            model.change(refusal=None, reason="")

    async def release(
        self,
        model_id: str,
        *,
        actor: str,
        expect: int | None = None,
        early: bool = False,
        allow_unsupported_runtime: bool = False,
    ) -> None:
        """Let a quarantined model try again: gate, load, canary, probation."""
        model = self._inventory.find(model_id)
        self._decided_on(model, expect)
        async with model.lock:
            if model.readiness is not Readiness.QUARANTINED:
                raise EngineError(
                    refuse(
                        Code.CONFLICT,
                        f"{model_id} is not quarantined",
                        expected="quarantined",
                        found=model.readiness.value,
                        remedy="load it instead",
                    )
                )
            decision = self._services.quarantine.release_check(model.key, model_id, early)
            if decision is not None:
                raise EngineError(decision)
            options = LoadOptions(
                runtime=model.runtime.name, allow_unsupported_runtime=allow_unsupported_runtime
            )
            self._begin(await self._intake.admit(model, options, actor, release=True))

    async def hold(self, model_id: str, *, actor: str, expect: int | None = None) -> None:
        """Quarantine by hand, until released."""
        model = self._inventory.find(model_id)
        self._decided_on(model, expect)
        if not model.fingerprint:
            model.fingerprint = await asyncio.to_thread(fingerprint, model.entry)
        self._services.quarantine.hold(model_id, actor=actor)
        self._services.say("model_held", "held", model_id=model_id, actor=actor, level="warn")
        if (life := self._lives.get(model_id)) is not None:
            await life.hold(actor)
        elif model.readiness is not Readiness.QUARANTINED:
            model.move(Readiness.QUARANTINED, Cause.HELD, actor, reason="held by an operator")

    async def canary(self, model_id: str, *, actor: str, expect: int | None = None) -> None:
        """Run the canary again on a routable model, in service."""
        model = self._inventory.find(model_id)
        self._decided_on(model, expect)
        life = self._lives.get(model_id)
        if life is None:
            raise EngineError(not_ready(model.view))
        await life.prove_again(actor)

    # -- requests -------------------------------------------------------------------------------

    async def chat(
        self,
        model_id: str,
        turns: Sequence[ChatTurn],
        options: ChatOptions | None = None,
        *,
        client: str,
        trusted: bool = False,
    ) -> LiveChat:
        """Ask a routable model."""
        model = self._inventory.find(model_id)
        self._decided_on(model, None)
        if model.readiness is Readiness.QUARANTINED:
            unstable = self._services.quarantine.decision(model.key, model_id)
            raise EngineError(unstable or not_ready(model.view))
        life = self._lives.get(model_id)
        if life is None:
            raise EngineError(not_ready(model.view))
        drawn = options or ChatOptions()
        frame = Generate(
            id=self._new_id(),
            messages=tuple(Message(role=turn.role, content=turn.content) for turn in turns),
            sampling=Sampling.model_validate(drawn, from_attributes=True),
        )
        return life.chat(frame, client, trusted=trusted)

    async def cancel(self, request_id: str, *, actor: str) -> None:
        """Cancel one request in flight."""
        for life in self._lives.values():
            if request_id in life.model.requests:
                text = f"request {request_id} cancelled"
                self._services.say("request_cancelled", text, model_id=life.model.id, actor=actor)
                life.cancel(request_id)

    # -- lives ---------------------------------------------------------------------------------

    def _moved(self, model: Model) -> None:
        self._services.quarantine.watch(model.key, model.id, model.readiness)

    def _retire(self, model_id: str) -> None:
        """Unload a model nobody has asked for within its keep-alive."""
        self._spawn(self.unload(model_id, actor="idle timeout"))

    def _begin(self, life: Lifecycle) -> None:
        model_id = life.model.id

        def ended() -> None:
            if self._lives.get(model_id) is life:
                del self._lives[model_id]

        self._lives[model_id] = life
        life.start(ended)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _host() -> str:
    return socket.gethostname().partition(".")[0]
