"""Where requests come in: routed to a model that may be asked, or told why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.chat import LiveChat
from engine.errors import EngineError
from engine.face import ChatOptions, ChatTurn, Lane
from engine.lifecycle import Lifecycle
from engine.model import not_ready
from engine.question import framed, too_large
from engine.services import Services
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

    def ask(self, model_id: str, request: Request) -> LiveChat:
        """Submit a request to a model of the board.

        Raises:
            EngineError: the model may not be asked, or the request cannot be run.
        """
        model = self._services.board.models[model_id]
        if model.readiness is Readiness.QUARANTINED:
            unstable = self._services.quarantine.decision(model.key, model_id)
            raise EngineError(unstable or not_ready(model.view))
        life = self._lives.get(model_id)
        if life is None:
            raise EngineError(not_ready(model.view))
        frame = framed(self._new_id(), request.turns, request.options, request.prompt)
        try:
            return life.chat(frame, request.client, trusted=request.trusted)
        except ProtocolError as error:
            raise EngineError(too_large(str(error))) from error

    def cancel(self, request_id: str, actor: str) -> None:
        """Cancel one request in flight; an id nobody has changes nothing."""
        for life in self._lives.values():
            if request_id in life.model.requests:
                text = f"request {request_id} cancelled"
                self._services.say("request_cancelled", text, model_id=life.model.id, actor=actor)
                life.cancel(request_id)
