"""Agents as Ray actors: started on a node, called, ended. Imports Ray where it is called."""

from typing import Any

from engine.cluster.agent import NodeAgent
from engine.cluster.line import LineDown
from engine.settings import Settings
from engine.text import clean_line

_CALLS = 100_000
"""Calls one agent may have in hand: each worker's start and each gate waits in one of them."""


class RayLine:
    """Implements :class:`engine.cluster.line.Line` over an actor's handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @classmethod
    def start(cls, node_id: str, name: str, settings: Settings, silence_s: float) -> "RayLine":
        """Have Ray start an agent on this node and nowhere else.

        It takes no processor and no GPU from Ray's account: the engine keeps account of what its
        workers take, and Ray's other work on the node is not to be kept from it.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        bound = NodeAffinitySchedulingStrategy(node_id, soft=False)
        actor: Any = ray.remote(NodeAgent)
        options = {
            "num_cpus": 0,
            "max_restarts": 0,  # a dead agent's workers are dead: its host is lost, then joins anew
            "max_concurrency": _CALLS,
            "scheduling_strategy": bound,
        }
        return cls(actor.options(**options).remote(name, settings, silence_s))

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for its answer. Raises LineDown."""
        from ray.exceptions import ActorDiedError, RayError

        try:
            return await getattr(self._handle, method).remote(*arguments)
        except ActorDiedError as error:
            raise LineDown(_words(error), final=True) from error
        except RayError as error:
            last = str(error).strip().rpartition("\n")[2]
            raise LineDown(clean_line(last, limit=200), final=False) from error

    def end(self) -> None:
        """End the agent; one that is gone is no error."""
        import ray

        ray.kill(self._handle)


def _words(error: Exception) -> str:
    """Ray's account of an actor's death in a few words: it fills a screen."""
    text = str(error)
    if "node has died" in text or "node was terminat" in text:
        return "its node is gone"
    if "creation task" in text:
        return clean_line(text.strip().rpartition("\n")[2], limit=200)
    return "its agent died"
