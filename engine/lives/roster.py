"""Who is live: every model's present life, from its start until nothing is left of it."""

import asyncio
from collections.abc import Callable

from engine.errors import EngineError
from engine.lives.lifecycle import Lifecycle
from engine.lives.model import Model
from engine.lives.standing import draining
from engine.readiness import LIVE


class Roster:
    """The lives of one engine, by model id.

    Args:
        rest: Told of a model once its life is over.
    """

    def __init__(self, rest: Callable[[Model], None]) -> None:
        self.lives: dict[str, Lifecycle] = {}
        self._rest = rest

    def begin(self, life: Lifecycle) -> None:
        """Start a life and keep it until its end."""
        model_id = life.model.id

        def ended() -> None:
            if self.lives.get(model_id) is life:
                del self.lives[model_id]
            self._rest(life.model)

        self.lives[model_id] = life
        life.start(ended)

    async def clear(self, model: Model) -> None:
        """Let the life before be over before another begins.

        Raises:
            EngineError: ``conflict``, while it is being unloaded.
        """
        if (life := self.lives.get(model.id)) is None:
            return
        if model.view.draining:
            raise EngineError(draining(model))
        if model.readiness not in LIVE:
            await life.over()

    async def settled(self, model: Model) -> None:
        """Wait until a model that is live has proved itself.

        Raises:
            EngineError: it failed on the way.
        """
        if (life := self.lives.get(model.id)) is not None:
            decision = await asyncio.shield(life.settled)
            if decision is not None:
                raise EngineError(decision)
