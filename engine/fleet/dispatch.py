"""Which copies of a model a load is for: on hosts that have the files and the room, and why."""

from dataclasses import dataclass, replace

from engine.caution import caution
from engine.errors import Code, Decision, EngineError, refuse
from engine.face import LoadOptions
from engine.fleet.copies import live
from engine.fleet.host import Host
from engine.lives.gatehouse import Gatehouse
from engine.lives.model import Model, unknown
from engine.lives.seating import elsewhere
from engine.memory import gigabytes
from engine.services import Services
from engine.text import clean_line
from engine.types import HostState


@dataclass(frozen=True, slots=True)
class Choice:
    """Copies to load, and in a few words why not others."""

    chosen: tuple[Model, ...]
    passed_over: str


class Dispatch:
    """Chooses among the copies of a model."""

    def __init__(self, services: Services, gatehouse: Gatehouse) -> None:
        self._services = services
        self._copies = services.copies
        self._gatehouse = gatehouse

    def find(self, name: str) -> Model:
        """The row a name means: that of this id, else the foremost copy.

        Raises:
            EngineError: ``model_not_found``.
        """
        models = self._services.board.models
        if (model := models.get(name)) is not None:
            return model
        if name in self._copies:
            return self._copies.answering(name)
        raise EngineError(unknown(name, len(models)))

    def wanted(self, model: Model, options: LoadOptions) -> int:
        """How many copies a load of the whole family is to have live."""
        own = self._services.settings.model.get(model.entry.plain)
        return options.replicas or (own.replicas if own else 1)

    async def rows(self, name: str, options: LoadOptions, *, actor: str) -> tuple[Model, ...]:
        """The copies a load is for: those that are live already, and as many more as it wants.

        Never empty. Where no copy can be loaded it is the first one, which will say why.

        Raises:
            EngineError: there is no such model, or none on the host that was named.
        """
        first = self.find(name)
        copies = self._copies.of(name)
        if options.host is not None:
            return (self._on(options.host, first, copies),)
        if len(copies) == 1:
            return copies
        up = live(copies)
        missing = self.wanted(first, options) - len(up)
        if missing <= 0:
            return up
        choice = await self.choose(copies, missing, options, actor)
        if choice.chosen and len(choice.chosen) < missing:
            text = f"{len(choice.chosen)} of {missing} copies found a host; {choice.passed_over}"
            self._services.say("replicas_missing", text, model_id=first.family, level="warn")
        return (*up, *choice.chosen) or (first,)

    def _on(self, name: str, first: Model, copies: tuple[Model, ...]) -> Model:
        found = next((copy for copy in copies if copy.place.host == name), None)
        if found is not None:
            return found
        there = self._services.hosts.named(name)
        raise EngineError(_not_there(clean_line(name, limit=80), first, copies, known=bool(there)))

    async def choose(
        self, copies: tuple[Model, ...], missing: int, options: LoadOptions, actor: str
    ) -> Choice:
        """Choose so many copies that the gate would admit now, on the hosts with most room
        first, and say why these."""
        chosen: list[Model] = []
        passed_over: list[str] = []
        for host, copy in self._by_room(copies):
            if len(chosen) == missing:
                break
            if (why := await self._obstacle(host, copy, options)) is None:
                chosen.append(copy)
                passed = "; ".join(passed_over)
                self._services.say(
                    "model_placed",
                    f"on {host.name}: has the files and {gigabytes(host.room)} free"
                    + (f"; {passed}" if passed else ""),
                    model_id=copy.id,
                    actor=actor,
                )
            else:
                passed_over.append(f"{host.name}: {why}")
        return Choice(tuple(chosen), "; ".join(passed_over))

    def _by_room(self, copies: tuple[Model, ...]) -> list[tuple[Host, Model]]:
        up = {copy.id for copy in live(copies)}
        hosts = [(self._services.hosts.of(copy), copy) for copy in copies if copy.id not in up]
        there = [pair for pair in hosts if pair[0].state is HostState.OK]
        return sorted(there, key=lambda pair: (-pair[0].room, not pair[0].own, pair[0].name))

    def _least(self, copy: Model, options: LoadOptions) -> int:
        """Bytes it takes at the least: those of its weights, or what is stated."""
        own = self._services.settings.model.get(copy.entry.plain)
        stated = options.reserve_gb or (own.reserve_gb if own else None)
        return int(stated * 1e9) if stated else copy.entry.weight_bytes

    async def _obstacle(self, host: Host, copy: Model, options: LoadOptions) -> str | None:
        """Why a copy cannot be loaded where it is, in a few words; None when it can."""
        if options.unattended and (why := caution(copy, self._services)):
            return why
        least, room = self._least(copy, options), host.room
        if least > room + elsewhere(self._services, copy, options):  # no need to ask the gate
            return f"at least {gigabytes(least - room)} short"
        try:
            found = await self._gatehouse.examine(copy, replace(options, host=None))
        except EngineError as error:
            return error.decision.message
        decision = found.decision
        if decision is None:
            return None
        if decision.code is Code.INSUFFICIENT_MEMORY and found.estimate is not None:
            return f"{gigabytes(found.estimate.total - host.room)} short"
        return decision.code.value


def _not_there(name: str, first: Model, copies: tuple[Model, ...], *, known: bool) -> Decision:
    having = ", ".join(copy.place.host for copy in copies)
    found = f"the files are on {having}" if known else f"no host of this name; it is on {having}"
    return refuse(
        Code.INVALID_REQUEST,
        f"{first.family} is not on a host named {name!r}",
        expected="a host that has the files",
        found=found,
        remedy=f"name one of {having}, or copy the files and rescan",
        param="host",
    )
