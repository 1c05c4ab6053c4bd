"""What each client has asked for: figures an operator looks at before he blames a model."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from engine.face import ChatEnd
from engine.types import ClientView

KEPT = 256
"""Clients remembered; whoever asked longest ago is forgotten first."""
SHOWN = 32


class Clients:
    """A bounded tally, since anybody may choose a name.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._views: OrderedDict[str, ClientView] = OrderedDict()

    def ended(self, client: str, end: ChatEnd) -> None:
        """A request of this client has ended."""
        view = self._views.pop(client, None) or ClientView(client, 0, 0, 0, 0, 0.0)
        self._views[client] = replace(
            view,
            requests=view.requests + 1,
            failed=view.failed + (end.decision is not None),
            prompt_tokens=view.prompt_tokens + end.prompt_tokens,
            completion_tokens=view.completion_tokens + end.completion_tokens,
            last_at=self._clock(),
        )
        if len(self._views) > KEPT:
            self._views.popitem(last=False)

    def views(self) -> tuple[ClientView, ...]:
        """The clients that asked most recently, newest first."""
        return tuple(reversed(self._views.values()))[:SHOWN]
