"""Loading at the start what the settings want loaded: one after another, trusted by nobody."""

from collections.abc import Awaitable, Callable

from engine.caution import caution
from engine.errors import Code, EngineError
from engine.lives.model import Model
from engine.services import Services
from engine.text import clean_line
from engine.types import Readiness

ACTOR = "preload"


class Preload:
    """Loads the models whose settings say ``preload``, in the order of the settings."""

    def __init__(self, services: Services, load: Callable[[str], Awaitable[object]]) -> None:
        """Args:
        load: Loads a model through gate and canary; returns once it is routable.
        """
        self._services = services
        self._load = load

    async def run(self) -> None:
        """Load them. A refusal is on its model's row and ends nothing but that load."""
        services = self._services
        for model_id, own in services.settings.model.items():
            if not own.preload:
                continue
            # Asked one by one: the model before may have made a backend suspect.
            copies = services.copies.of(model_id)
            model = copies[0] if copies else None
            if why := self._obstacle(model):
                text = f"not preloaded: {why}"
                services.say("preload_skipped", text, model_id=clean_line(model_id), level="warn")
                continue
            try:
                await self._load(model_id)
            except EngineError as error:
                if error.decision.code is Code.SHUTTING_DOWN:
                    return

    def _obstacle(self, model: Model | None) -> str:
        """Why nobody but an operator may load it now, or empty."""
        if model is None:
            return "no model of this name was found"
        if self._services.quarantine.held(model.id):
            return "an operator holds it"
        if model.readiness is Readiness.QUARANTINED:
            return f"quarantined: {model.view.reason}"
        return caution(model, self._services)
