"""Where requests come in: routed to a model that may be asked, or told why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import Decision, EngineError
from engine.face import ChatOptions, ChatTurn, Lane
from engine.lives.lifecycle import Lifecycle
from engine.lives.model import not_ready, unknown
from engine.requests.chat import LiveChat
from engine.requests.question import framed, too_large
from engine.requests.rendering import rendered
from engine.services import Services
from engine.text import clean_line
from engine.types import Readiness
from engine.workers.protocol import ProtocolError


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks of a model, and who it is."""

    turns: Sequence[ChatTurn]
    options: ChatOptions
    client: str
    prompt: str | None
    lane: Lane
    trusted: bool


class Reception:
    """Hands requests to live models.

    Args:
        lives: The live models, as the engine keeps them.
    """

    def __init__(
        self, services: Services, lives: Mapping[str, Lifecycle], new_id: Callable[[], str]
    ) -> None:
        self._services = services
        self._lives = lives
        self._new_id = new_id

    def resolve(self, name: str) -> str:
        """The id of the model that answers to a name.

        A name is an id, or an alias from the settings, of which the first routable model answers;
        a provider's name before a slash is taken off where nothing is called by the whole. The
        last part of an id will do where it means one routable model. Of a model with copies on
        several hosts the least loaded routable copy answers.

        Raises:
            EngineError: ``model_not_found``.
        """
        copies = self._services.copies
        rest = name
        while True:
            if rest in copies:
                return copies.answering(rest).id
            if called := self._called(rest):
                candidates = [copies.answering(family) for family in called]
                routable = (m for m in candidates if m.readiness is Readiness.ROUTABLE)
                return next(routable, candidates[0]).id
            if "/" not in rest:
                break
            rest = rest.partition("/")[2]
        if len(short := copies.named(rest)) == 1:
            return copies.answering(short[0]).id
        raise EngineError(unknown(name, len(self._services.board.models)))

    def _called(self, alias: str) -> list[str]:
        """The models an alias means, in the order of the settings."""
        found = []
        for model_id, own in self._services.settings.model.items():
            names = (own.alias,) if isinstance(own.alias, str) else own.alias
            if alias in names and model_id in self._services.copies:
                found.append(model_id)
        return found

    def why_not(self, model_id: str) -> Decision | None:
        """Why a model may not be asked now; None when it may."""
        model = self._services.board.models[model_id]
        if self._quarantined(model_id):
            unstable = self._services.quarantine.decision(model.key, model_id)
            return unstable or not_ready(model.view)
        return None if model.readiness is Readiness.ROUTABLE else not_ready(model.view)

    def _quarantined(self, model_id: str) -> bool:
        return self._services.board.models[model_id].readiness is Readiness.QUARANTINED

    def ask(self, name: str, request: Request) -> LiveChat:
        """Submit a request to the model of this name; see :meth:`resolve`.

        Raises:
            EngineError: there is none, it may not be asked, or the request cannot be run.
        """
        life = self._life(name)
        frame = framed(self._new_id(), request.turns, request.options, request.prompt)
        try:
            return life.chat(
                frame,
                clean_line(request.client, limit=80) or "unnamed",
                lane=request.lane,
                deadline_s=self._deadline_s(request.options),
                trusted=request.trusted,
            )
        except ProtocolError as error:
            raise EngineError(too_large(str(error))) from error

    async def render(self, name: str, turns: Sequence[ChatTurn]) -> str:
        """The prompt the model of this name would be given; see :func:`rendered`.

        Raises:
            EngineError: there is none, it may not be asked, or this cannot be rendered.
        """
        worker = self._life(name).worker()
        limit = self._services.settings.deadlines.template_s
        return await rendered(worker, self._new_id(), turns, limit)

    def _life(self, name: str) -> Lifecycle:
        model_id = self.resolve(name)
        life = self._lives.get(model_id)
        if life is None or self._quarantined(model_id):
            view = self._services.board.models[model_id].view
            raise EngineError(self.why_not(model_id) or not_ready(view))
        return life

    def _deadline_s(self, options: ChatOptions) -> float:
        limit = self._services.settings.deadlines.request_s
        return limit if options.deadline_s is None else min(limit, options.deadline_s)

    def cancel(self, request_id: str, actor: str) -> None:
        """Cancel one request in flight; an id nobody has changes nothing."""
        for life in self._lives.values():
            if request_id in life.model.requests:
                text = f"request {request_id} cancelled"
                self._services.say("request_cancelled", text, model_id=life.model.id, actor=actor)
                life.cancel(request_id)
