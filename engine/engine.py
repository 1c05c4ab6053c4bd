"""The engine: admit, load, prove, route, contain, remember. Where the parts meet.

One instance owns one home folder. Everything runs on one event loop; what blocks runs off it.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace

from engine.actions import Actions
from engine.assembly import assemble
from engine.errors import Decision, EngineError
from engine.face import ChatOptions, ChatTurn, Lane, LoadOptions
from engine.fleet.fleet import Fleet
from engine.fleet.member import Alone, Cluster
from engine.frontdesk import FrontDesk
from engine.home.home import Home
from engine.ledger.archive import host_name
from engine.lives.board import Board
from engine.lives.model import Model, shutting_down
from engine.lives.preload import ACTOR as PRELOAD
from engine.lives.roster import Roster
from engine.memory import Memory, machine_memory
from engine.overview import filled
from engine.requests.chat import LiveChat
from engine.requests.question import asked
from engine.requests.reception import Reception, Request
from engine.settings import Settings, load_settings
from engine.trials.retrial import Retrial
from engine.types import EngineSnapshot, Event, Explanation, RegistryRow
from engine.workers.gang import GangPlacement
from engine.workers.placement import Placement
from engine.workers.process import LocalPlacement


class Engine:
    """The engine's own face; see :class:`engine.face.EngineFace` for what each call promises."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        placement: Placement | None = None,
        cluster: Cluster | None = None,
        machine: Callable[[], Memory] = machine_memory,
    ) -> None:
        self.settings = settings or load_settings()
        self._clock = clock
        self._new_id = new_id
        self._placement = placement
        self._machine = machine
        self._cluster = cluster or Alone()
        self._home = Home(self.settings.home, clock=clock)
        self._board = Board(clock, self._fill)
        self.desk = FrontDesk(
            self._home, self._board, lambda: self._rooms if self._opened else None
        )
        self._roster = Roster(self._rest)
        self._lives = self._roster.lives
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = self._started = self._stopping = False
        self._starting = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None

    # -- start and stop -------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the home, read what is known, find the models.

        Raises:
            HomeTaken: another process serves this home.
            HomeUnusable: the home folder cannot be made or written.
            ClusterTrouble: the cluster cannot be joined.
        """
        async with self._starting:
            if self._started or self._stopping:
                return
            self._home.take(address="")
            await self._cluster.open()
            # A start that is cancelled must not leave the thread opening files behind it.
            opening = asyncio.ensure_future(asyncio.to_thread(self._open))
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                await asyncio.wait({opening})
                raise
            self._reception = Reception(self._rooms.services, self._lives, self._new_id)
            self._retrial = Retrial(self._rooms.services, self, self._spawn)
            self._actions = Actions(
                self._rooms,
                self._roster,
                self._spawn,
                asked_for=self._retrial.asked_for,
                settle=self._settle,
                stopping=lambda: self._stopping,
            )
            self._fleet = Fleet(self._rooms, self._roster, self._actions.begin, self._spawn)
            self._opened = True
            self._rooms.services.say("engine_started", f"serving {self._home.path}")
            self._rooms.inventory.judge_leftovers()
            await self.rescan()
            self._started = True
            self._board.changed()
            self._spawn(self._rooms.upkeep.run())
            self._spawn(self._cluster.watch(self._fleet))
            # A host of a cluster may be joining still.
            alone = isinstance(self._cluster, Alone)
            patience_s = 0.0 if alone else self.settings.deadlines.preload_s
            self._spawn(self._rooms.preload.run(patience_s))
            self._rooms.inventory.prepare_spares(self._rooms.services.hosts.own)

    def _open(self) -> None:
        self._rooms = assemble(
            self.settings,
            self._home,
            self._board,
            clock=self._clock,
            new_id=self._new_id,
            placement=GangPlacement(self._placement or LocalPlacement()),
            machine=self._machine,
            lives=self._lives,
            retire=lambda model_id: self._spawn(self._retire(model_id)),
            release=lambda model_id: self._spawn(self._release_by_itself(model_id)),
            preload=lambda name: self.load(
                name, LoadOptions(unattended=True), actor=PRELOAD, wait=True
            ),
        )

    async def stop(self, *, drain_s: float = 0.0) -> None:
        """End requests and workers, in order, and let go of the home. Safe to call twice."""
        if self._ending is None:
            self._stopping = True
            self._ending = asyncio.create_task(self._stop(drain_s))
        elif drain_s <= 0:
            for life in self._lives.values():
                life.traffic.hurry()
        await asyncio.shield(self._ending)

    async def _stop(self, drain_s: float) -> None:
        async with self._starting:
            pass  # a start under way sees that it has to end
        if not self._opened:
            await self._cluster.close()
            self._home.let_go()
            return
        self._board.changed()
        self._rooms.services.hosts.forget_losses()
        live = tuple(self._lives.values())
        names = ", ".join(life.model.id for life in live) or "nothing loaded"
        self._rooms.services.say("engine_stopping", f"stopping: {names}")
        await asyncio.gather(*(life.stop(drain_s) for life in live), return_exceptions=True)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._rooms.services.hosts.close()
        await self._cluster.close()
        await asyncio.to_thread(self._rooms.close)
        self._home.let_go()
        self._started = False

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
            host=host_name(),
            api=self.desk.address,
        )
        if not self._opened:
            return known
        return replace(filled(known, self._rooms), proving=self._retrial.models)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """Events still in memory with a sequence above ``after``, oldest first."""
        return self._rooms.services.events.after(after) if self._opened else ()

    def silent_s(self) -> float:
        """0: it is in this process."""
        return 0.0

    async def rows(self, model_id: str | None = None, *, limit: int) -> tuple[RegistryRow, ...]:
        """The registry's newest rows, newest first; read off the event loop."""
        return await asyncio.to_thread(self.desk.archive().rows, model_id, limit=limit)

    async def rescan(self) -> None:
        """Look at the disk again; what is live keeps its row."""
        self._must_be_open()
        await self._rooms.inventory.rescan()
        self._rooms.preload.look()

    # -- the gate -------------------------------------------------------------------------------

    async def explain(self, model_id: str, options: LoadOptions | None = None) -> Explanation:
        """Run the gate without loading."""
        self._must_be_open()
        model = self._rooms.dispatch.find(model_id)
        return await self._rooms.gatehouse.examine(model, asked(options))

    def _must_serve(self) -> None:
        self._must_be_open()
        if self._stopping:
            raise EngineError(shutting_down())

    def _must_be_open(self) -> None:
        if not self._opened:
            raise EngineError(shutting_down())

    # -- actions --------------------------------------------------------------------------------

    async def load(
        self,
        model_id: str,
        options: LoadOptions | None = None,
        *,
        actor: str,
        expect: int | None = None,
        wait: bool = False,
    ) -> tuple[str, ...]:
        """Admit and start loading; joining a load under way and loading what runs succeed."""
        self._must_serve()
        return await self._actions.load(model_id, asked(options), actor, expect, wait=wait)

    async def unload(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Drain and end the worker. Unloading what is unloaded changes nothing."""
        self._must_serve()
        return await self._actions.unload(model_id, actor, expect)

    async def release(
        self,
        model_id: str,
        *,
        actor: str,
        expect: int | None = None,
        early: bool = False,
        allow_unsupported_runtime: bool = False,
    ) -> tuple[str, ...]:
        """Let a quarantined model try again: gate, load, canary, probation."""
        self._must_serve()
        options = LoadOptions(allow_unsupported_runtime=allow_unsupported_runtime)
        return await self._actions.release(model_id, options, actor, expect, early=early)

    async def hold(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Quarantine by hand, until released."""
        self._must_serve()
        return await self._actions.hold(model_id, actor, expect)

    async def canary(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Run the canary again on a routable model, in service."""
        self._must_serve()
        return await self._actions.canary(model_id, actor, expect)

    async def prove_outdated(self, model_ids: Sequence[str], *, actor: str) -> None:
        """Prove the models of an older version again, in the background."""
        self._must_serve()
        self._retrial.start(model_ids, actor)

    async def stop_proving(self, *, actor: str) -> None:
        """End what :meth:`prove_outdated` began."""
        self._must_be_open()
        await self._retrial.stop(actor)

    # -- requests -------------------------------------------------------------------------------

    async def chat(
        self,
        model_id: str,
        turns: Sequence[ChatTurn],
        options: ChatOptions | None = None,
        *,
        client: str,
        prompt: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
        trusted: bool = False,
    ) -> LiveChat:
        """Ask a routable model."""
        self._must_serve()
        request = Request(turns, options or ChatOptions(), client, prompt, lane, trusted=trusted)
        return self._reception.ask(model_id, request)

    async def render(self, model_id: str, turns: Sequence[ChatTurn]) -> str:
        """The prompt a routable model would be given for a conversation."""
        self._must_serve()
        return await self._reception.render(model_id, turns)

    def resolve(self, name: str) -> str:
        """The id of the model that answers to a name, an alias or ``provider/model``."""
        self._must_serve()
        return self._reception.resolve(name)

    def why_not(self, model_id: str) -> Decision | None:
        """Why a model may not be asked now; None when it may."""
        self._must_serve()
        return self._reception.why_not(model_id)

    async def cancel(self, request_id: str, *, actor: str) -> None:
        """Cancel one request in flight."""
        self._must_be_open()
        self._reception.cancel(request_id, actor)

    # -- lives ---------------------------------------------------------------------------------

    def _row(self, model_id: str) -> Model | None:
        return self._board.models.get(model_id)

    async def _retire(self, model_id: str) -> None:
        """Unload one copy that nobody asks any more."""
        if (row := self._row(model_id)) is not None:
            await self._actions.end(row, "idle timeout")

    async def _release_by_itself(self, model_id: str) -> None:
        if (row := self._row(model_id)) is not None:
            with suppress(EngineError):  # the refusal is on the row and in the log
                await self.release(model_id, actor="auto_release", expect=row.view.version)

    def _settle(self, family: str) -> None:
        self._fleet.settle(family)

    def _rest(self, model: Model) -> None:
        self._rooms.inventory.rest(model)

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
