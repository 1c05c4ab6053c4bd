"""Who goes next when a model has more requests than it can take: clients and lanes by turns."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from engine.face import Lane

Item = TypeVar("Item")
THROUGHPUT_SHARE = 4
"""Of so many starts while both lanes wait, one is a throughput request: they wait, not starve."""


class _Turns(Generic[Item]):
    """One lane: clients take turns, each client's own requests in order of arrival."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Item]] = OrderedDict()

    def push(self, client: str, item: Item) -> None:
        self._clients.setdefault(client, deque()).append(item)

    def pop(self) -> Item:
        client, items = self._clients.popitem(last=False)
        item = items.popleft()
        if items:
            self._clients[client] = items  # behind the others
        return item

    def remove(self, client: str, item: Item) -> bool:
        items = self._clients.get(client)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._clients[client]
        return True

    def __bool__(self) -> bool:
        return bool(self._clients)


class FairQueue(Generic[Item]):
    """Requests that wait for one model.

    Interactive ones go first; while both lanes wait, every fourth start is a throughput request.
    Inside a lane clients take turns, so that one with a hundred requests costs another one turn.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, _Turns[Item]] = {lane: _Turns() for lane in Lane}
        self._passed_over = 0
        self._count = 0

    def push(self, item: Item, client: str, lane: Lane) -> None:
        """Add a request at the end of its client's line."""
        self._lanes[lane].push(client, item)
        self._count += 1

    def pop(self) -> Item:
        """Take the next one. Raises IndexError when nobody waits."""
        interactive, throughput = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.THROUGHPUT]
        if not self._count:
            raise IndexError("nobody waits")
        self._count -= 1
        if not throughput:
            self._passed_over = 0
            return interactive.pop()
        if interactive and self._passed_over < THROUGHPUT_SHARE - 1:
            self._passed_over += 1
            return interactive.pop()
        self._passed_over = 0
        return throughput.pop()

    def remove(self, item: Item, client: str, lane: Lane) -> bool:
        """Take a request out of the line; False if it is not in it."""
        found = self._lanes[lane].remove(client, item)
        self._count -= found
        return found

    def __len__(self) -> int:
        return self._count
