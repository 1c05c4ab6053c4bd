"""What an engine does once a second: let time do its good, write what can wait, watch its disk."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from engine.announcer import Announcer
from engine.home.home import Home
from engine.home.statefile import StateFile
from engine.lives.lifecycle import Lifecycle
from engine.registry import RegistryTrouble
from engine.second import until_second
from engine.services import Services
from engine.text import clean_line
from engine.trials.upgrade import Upgrade
from engine.types import Notice, Readiness

TICK_S = 1.0
_OTHERS_TICKS = 5
"""So many ticks apart the rows that other processes wrote are looked for, when nothing else waits
to be written: it is a thread's work, since a disk may make it wait."""


class Upkeep:
    """The engine's slow heartbeat."""

    def __init__(
        self,
        services: Services,
        state: StateFile,
        home: Home,
        lives: Mapping[str, Lifecycle],
        retire: Callable[[str], object],
        release: Callable[[str], object],
        announcer: Announcer,
    ) -> None:
        """Args:
        lives: The live models, as the engine keeps them.
        retire: Unloads a model that has been idle for its keep-alive.
        release: Releases a quarantined model; called once at the end of each cool-down, and only
            where the settings say ``auto_release``.
        """
        self.announcer = announcer
        self.upgrade = Upgrade(services)
        self.ticked_at = time.monotonic()
        """When the last tick came to its end, on the monotonic clock."""
        self._ticks = 0
        self._services = services
        self._state = state
        self._home = home
        self._lives = lives
        self._retire = retire
        self._release = release
        self._released: dict[str, float] = {}
        """The end of the cool-down at which each model was released by itself."""

    async def run(self) -> None:
        """Tick until cancelled. What fails is said once and tried again the next second."""
        board = self._services.board
        while True:
            await until_second(TICK_S)
            try:
                await self._tick()
            except Exception as error:
                what = clean_line(f"{type(error).__name__}: {error}", limit=300)
                board.notice(Notice("upkeep", f"the engine's upkeep fails: {what}", "error"))
            else:
                board.unnotice("upkeep")
                self.ticked_at = time.monotonic()

    async def _tick(self) -> None:
        services = self._services
        for relief in services.quarantine.tick():
            services.tell(relief)
        for life in tuple(self._lives.values()):
            self._look_after(life)
        for host in services.hosts:
            host.reclaim.look()
        self._ticks += 1
        waits = self._state.waiting or services.events.waiting or services.registry.pending
        due = waits or self._ticks % _OTHERS_TICKS == 0
        if due and await asyncio.to_thread(self._write_what_waits):
            services.board.changed()
        await self.upgrade.look()
        self._show_disk_trouble()
        self._show_suspects()
        if services.settings.quarantining.auto_release:
            self._release_the_eligible()
        self._look_at_memory()

    def _look_at_memory(self) -> None:
        """Show free memory anew where it moved enough to be worth a repaint."""
        if any(host.moved for host in self._services.hosts):
            self._services.board.changed()

    def _look_after(self, life: Lifecycle) -> None:
        model, services = life.model, self._services
        if (measured := model.view.measured_bytes) is not None:
            host = services.hosts.of(model)
            host.budget.measure(model.id, measured)
            loading = model.readiness is Readiness.LOADING
            host.reclaim.note(model.id, measured, loaded=not loading)
        if model.readiness is not Readiness.ROUTABLE or model.view.draining:
            return
        model.change(
            strikes=services.quarantine.strikes(model.key),
            probation=services.quarantine.on_probation(model.key),
        )
        keep_alive = life.mission.keep_alive_s
        own = services.settings.model.get(model.entry.plain)
        if keep_alive and life.traffic.idle_s > keep_alive and not (own and own.pin):
            self._retire(model.id)

    def _write_what_waits(self) -> bool:
        """Requests in flight, rows a full disk refused. Returns whether others wrote rows too."""
        registry = self._services.registry
        self._state.flush()
        self._services.events.flush()
        with suppress(RegistryTrouble):  # ``trouble`` keeps saying so
            if registry.pending:
                registry.flush_pending()
        return registry.refresh()

    def _show_disk_trouble(self) -> None:
        """Put up, or take down, a banner for each file that cannot be written."""
        services = self._services
        for part, trouble in (
            ("registry", services.registry.trouble),
            ("state", self._state.trouble),
            ("events", services.events.trouble),
            ("home", self._home.trouble),
            ("on-event", self.announcer.trouble),
        ):
            name = f"{part}-trouble"
            if trouble:
                services.board.notice(Notice(name, clean_line(trouble), "error"))
            else:
                services.board.unnotice(name)

    def _show_suspects(self) -> None:
        """Say when it is rather a backend than its models: three of them struck down on it."""
        board, found = self._services.board, self._services.quarantine.suspects()
        for (backend, version), models in found.items():
            text = f"{version} is suspect: {', '.join(models)} were struck down on it"
            board.notice(Notice(f"suspect-{backend.value}-{version}", text, "error"))
        current = {f"suspect-{backend.value}-{version}" for backend, version in found}
        for name in tuple(board.notices):
            if name.startswith("suspect-") and name not in current:
                board.unnotice(name)

    def _release_the_eligible(self) -> None:
        """One try at the end of each cool-down; never on a backend that is suspect itself."""
        services = self._services
        models = services.board.models
        suspect = {model for names in services.quarantine.suspects().values() for model in names}
        current = {m.id: m.key for m in models.values() if m.fingerprint}
        for view in services.quarantine.views(current):
            waits = view.held or view.eligible_at > services.clock()
            tried = self._released.get(view.model_id) == view.eligible_at
            if waits or view.model_id in suspect or tried:
                continue
            if view.model_id in models:
                self._released[view.model_id] = view.eligible_at
                self._release(view.model_id)
