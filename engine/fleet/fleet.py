"""The hosts of a cluster as they come and go, and what becomes of the models on them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from engine.assembly import Rooms
from engine.errors import EngineError
from engine.face import LoadOptions
from engine.fleet.copies import routable
from engine.fleet.host import Host
from engine.fleet.member import Member
from engine.fleet.spread import Spread
from engine.lives.lifecycle import Lifecycle
from engine.lives.model import Model
from engine.lives.reclaim import Reclaim
from engine.lives.roster import Roster
from engine.memory import Budget
from engine.text import clean_line
from engine.types import HostState, Notice, Readiness
from engine.workers.spares import Spares

LOST, JOINED = "host lost", "host joined"
"""The actors of loads nobody asked for."""
_NAMED = 5


class Fleet:
    """Keeps hosts in step with the cluster; a model whose host is lost goes to another one.

    Args:
        load: Admits one row and starts loading it.
        spawn: Runs something in the background until it is done or the engine ends.
    """

    def __init__(
        self,
        rooms: Rooms,
        roster: Roster,
        load: Callable[[Model, LoadOptions, str], Coroutine[None, None, None]],
        spawn: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
    ) -> None:
        self._services = rooms.services
        self._inventory = rooms.inventory
        self._preload = rooms.preload
        self._dispatch = rooms.dispatch
        self._roster = roster
        self._load = load
        self._spawn = spawn
        self._homeless: dict[str, list[LoadOptions]] = defaultdict(list)
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._moving = asyncio.Lock()

    def settle(self, family: str) -> None:
        """Somebody has decided on this model: what was lost of it is not brought back."""
        self._homeless.pop(family, None)

    # -- what the cluster tells: engine.fleet.member.Audience ------------------------------------

    async def joined(self, member: Member) -> None:
        """A host is there: its models join the list, and it takes what found no other host."""
        services, name = self._services, member.place.host
        budget = Budget(member.budget, lambda: member.memory().available)
        host = Host(
            member.place,
            member.quarters,
            budget,
            Reclaim(budget, services.board, services.events, member.memory, host=name),
            Spares(
                Spread(member.placement, services.hosts.named),
                services.settings.deadlines,
                keep=services.settings.spare,
            ),
            member.placement,
            ring=services.settings.ring_of(name),
            address=member.address,
            devices=member.devices,
        )
        services.hosts.others[name] = host
        services.board.unnotice(_notice(name))
        try:
            await self._inventory.look_at(host)
        except EngineError as error:
            services.say("host_unreadable", error.decision.message, level="warn")
            return
        count = sum(model.place.host == name for model in services.board.models.values())
        services.say("host_joined", f"{name} has joined with {count} models on its disk")
        self._inventory.prepare_spares(host)
        self._preload.look()
        await self._bring_back(tuple(self._homeless), JOINED)

    def stale(self, name: str, heard_at: float) -> None:
        """Nothing is heard of a host: what it serves is asked last, and nothing is loaded there."""
        if (host := self._services.hosts.named(name)) is not None:
            host.state, host.heard_at, host.why = HostState.STALE, heard_at, "not heard"
            self._services.say("host_stale", f"{name} is not heard any more", level="warn")

    def heard(self, name: str) -> None:
        """A stale host is heard again."""
        if (host := self._services.hosts.named(name)) is not None:
            host.state, host.heard_at, host.why = HostState.OK, None, ""
            self._services.say("host_heard", f"{name} is heard again")

    def lost(self, name: str, why: str) -> None:
        """A host is given up. Called before its connections end, so that what runs is known."""
        services = self._services
        host = services.hosts.named(name)
        if host is None:
            return
        host.state, host.why = HostState.LOST, clean_line(why, limit=200)
        host.heard_at = host.heard_at or services.clock()
        lives = [life for life in self._roster.lives.values() if _uses(life, name)]
        requests = sum(life.model.view.requests for life in lives)
        names = ", ".join(life.model.id for life in lives[:_NAMED]) or "nothing"
        more = f" and {len(lives) - _NAMED} more" if len(lives) > _NAMED else ""
        services.say(
            "host_lost",
            f"{name} is lost: {host.why}; it ran {names}{more}, {requests} requests ended",
            level="error",
            data={"host": name, "models": [x.model.id for x in lives], "requests": requests},
        )
        now = services.clock()
        moving = [life for life in lives if self._may_move(life, now)]
        self._spawn(self._after_loss(host, lives, moving))

    def useless(self, name: str, why: str) -> None:
        """A host of the cluster cannot run workers of this engine."""
        text = clean_line(f"host {name} cannot be used: {why}", limit=300)
        self._services.board.notice(Notice(_notice(name), text))

    # -- what follows ---------------------------------------------------------------------------

    def _may_move(self, life: Lifecycle, now: float) -> bool:
        """Whether a model is loaded elsewhere by itself.

        What was still loading may have taken its host down, and so may what loses a second host
        within the strikes' window: it would take one host after another.

        Args:
            now: When the host was lost, which may have had parts of several copies.
        """
        model, window = life.model, self._services.settings.quarantining.window_s
        recent = [at for at in self._losses[model.family] if now - at < window and at != now]
        self._losses[model.family] = [*recent, now]
        return routable(model) and not model.view.probation and not recent

    async def _after_loss(
        self, host: Host, lives: Iterable[Lifecycle], moving: list[Lifecycle]
    ) -> None:
        await asyncio.gather(*(life.over() for life in lives))
        host.reclaim.close()
        await host.spares.close()
        for life in lives:
            if life not in moving and life.model.readiness is Readiness.UNLOADED:
                why = f"{life.model.view.reason}; load it yourself if you trust it"
                life.model.change(reason=why)
        for life in moving:
            self._homeless[life.model.family].append(_as_before(life))
        await self._bring_back(tuple(life.model.family for life in moving), LOST)

    async def _bring_back(self, families: Iterable[str], actor: str) -> None:
        """Load copies that were lost where there is a host for them; the rest waits for one."""
        async with self._moving:
            for family in dict.fromkeys(families):
                for options in tuple(self._homeless.get(family, ())):
                    if not await self._house(family, options, actor):
                        break
                    with suppress(KeyError, ValueError):  # settled by somebody meanwhile
                        self._homeless[family].remove(options)
                if not self._homeless.get(family):
                    self._homeless.pop(family, None)

    async def _house(self, family: str, options: LoadOptions, actor: str) -> bool:
        copies = self._services.copies.of(family)
        choice = await self._dispatch.choose(copies, 1, options, actor)
        for copy in choice.chosen:
            with suppress(EngineError):  # the refusal is on the row and in the log
                await self._load(copy, options, actor)
                return True
        for copy in copies:
            host = self._services.hosts.of(copy)
            if host.state is HostState.LOST and copy.readiness is Readiness.UNLOADED:
                others = choice.passed_over or "no other host has the files"
                copy.change(reason=f"host lost: {host.why}; {others}")
        return False


def _uses(life: Lifecycle, host: str) -> bool:
    """Whether a model's worker, or a rank of it, is there."""
    return host in (life.model.place.host, *(post.host for post in life.mission.posts))


def _as_before(life: Lifecycle) -> LoadOptions:
    mission = life.mission
    return LoadOptions(
        runtime=life.model.runtime.name,
        context=mission.context,
        keep_alive_s=mission.keep_alive_s,
        allow_unsupported_runtime=mission.override,
        reserve_gb=mission.estimate.stated / 1e9 if mission.estimate.stated else None,
        ranks=mission.estimate.ranks if mission.estimate.ranks > 1 else None,
        unattended=True,
    )


def _notice(name: str) -> str:
    return f"host-{name}"
