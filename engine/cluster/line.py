"""The way to an agent, as a protocol: a Ray actor in production, the agent itself in tests."""

from typing import Any, Protocol


class LineDown(Exception):
    """The agent did not answer. The text says why, in a few words.

    Args:
        final: It never will: the agent or its node is gone.
    """

    def __init__(self, why: str, *, final: bool) -> None:
        super().__init__(why)
        self.final = final


class Line(Protocol):
    """Calls methods of a :class:`engine.cluster.agent.NodeAgent`."""

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for its answer. Raises LineDown."""
        ...

    def end(self) -> None:
        """End the agent, and with it its workers; safe at any time."""
        ...
