"""Requests that were there when a model died: the second time, it is the request.

A poisonous prompt, sent again by a client that retries, would strike down one healthy model after
another. The death that gives it away is charged to the request, and from then on it is refused.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from engine.errors import Code, Decision, refuse
from engine.home.statefile import StateFile, Suspicion
from engine.text import clean_line
from engine.workers.protocol import Generate

DEATHS = 2
"""So many deaths under one request, and the request is suspect."""
FORGET_S = 24 * 3600.0
"""A request no model has died of for so long is no longer suspect; the model may be mended."""
_KEPT = 500


def digest_of(frame: Generate) -> str:
    """What makes two requests the same: their words. How they are drawn does not matter."""
    digest = blake2b(digest_size=16)
    for message in frame.messages:
        digest.update(f"{len(message.role)}:{message.role}".encode("utf-8", "replace"))
        digest.update(f"{len(message.content)}:{message.content}".encode("utf-8", "replace"))
        for call in message.tool_calls:
            digest.update(f"{call.name}:{call.arguments}".encode("utf-8", "replace"))
    if frame.prompt is not None:
        digest.update(frame.prompt.encode("utf-8", "replace"))
    if frame.tools:  # they are part of the prompt
        digest.update(repr(frame.tools).encode("utf-8", "replace"))
    return digest.hexdigest()


class Suspects:
    """The requests under which models died, kept over restarts."""

    def __init__(self, file: StateFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._mutex = threading.Lock()

    def decision(self, model_id: str, digest: str) -> Decision | None:
        """Why this request may not run on this model, or None when it may."""
        found = self._known().get((clean_line(model_id), digest))
        if found is None or found.deaths < DEATHS:
            return None
        return refuse(
            Code.REQUEST_SUSPECT,
            f"{found.model_id} died twice under this very request, sent by {found.client}",
            check="suspect",
            expected="a request no model died of",
            found=f"in flight at {found.deaths} deaths of {found.model_id}",
            remedy="change the request, or try it on another model",
        )

    def died(self, model_id: str, in_flight: Mapping[str, str]) -> tuple[Suspicion, ...]:
        """A model died with these requests in flight (client by digest).

        Returns those under which it died once before: this death is charged to them.
        """
        if not in_flight:
            return ()
        with self._mutex:  # only the loop's thread comes here; the disk is waited for elsewhere
            known, name = self._known(), clean_line(model_id)
            for digest, client in in_flight.items():
                before = known.pop((name, digest), None)
                known[name, digest] = Suspicion(
                    model_id=name,
                    digest=digest,
                    client=clean_line(client, limit=80),
                    deaths=before.deaths + 1 if before else 1,
                    last_at=self._clock(),
                )
            self._keep(known.values())
            charged = (known[name, digest] for digest in in_flight)
            return tuple(found for found in charged if found.deaths == DEATHS)

    def _known(self) -> dict[tuple[str, str], Suspicion]:
        since = self._clock() - FORGET_S
        return {(s.model_id, s.digest): s for s in self._file.state.suspicions if s.last_at > since}

    def _keep(self, suspicions: Iterable[Suspicion]) -> None:
        self._file.change(durable=False, suspicions=tuple(suspicions)[-_KEPT:])
