"""What the engine knows of one model right now: the mutable side of a ModelView.

Written only on the engine's event loop. Every change goes through ``change`` or ``move``, so that
the board learns of it and no screen shows a state that was never true.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from engine.catalog.entry import CatalogEntry
from engine.errors import Code, Decision, EngineError, refuse
from engine.fleet.runtimes import Runtime
from engine.machine import Place
from engine.readiness import Cause, move
from engine.text import clean_line
from engine.types import Backend, Key, ModelView, Readiness, RequestView, Transition

TIMELINE = 50
"""Transitions kept for the detail screen."""
BLANK: dict[str, object] = {
    "progress": None,
    "stage": "",
    "retry_at": None,
    "override": False,
    "probation": False,
    "draining": False,
    "drain_until": None,
    "context": None,
    "idle_since": None,
    "tokens_per_second": None,
    "estimate": None,
    "ranks": 1,
}
"""View fields that mean nothing once a model is no longer live."""


class Model:
    """One model of the catalog and everything that happened to it."""

    def __init__(
        self,
        entry: CatalogEntry,
        runtime: Runtime,
        on_change: Callable[[], int],
        *,
        clock: Callable[[], float],
        strike_limit: int,
        place: Place,
        family: str,
        on_move: Callable[["Model"], None] = lambda _: None,
    ) -> None:
        """Args:
        on_change: Called with every change; the board counts them.
        place: The host it is on.
        family: The id that means it and its copies on other hosts together.
        on_move: Called after every transition; the quarantine counts running time by it.
        """
        self.entry = entry
        self.runtime = runtime
        self.place = place
        """Its host; a model never moves, its copy on another host is a model of its own."""
        self.lock = asyncio.Lock()
        """Held while an action decides; not while it waits for a worker."""
        self.fingerprint = ""
        self.stamp = ""
        """Inodes, sizes and times of its files when it was admitted: a repaired download has
        others, and what failed before is then no verdict on it."""
        self._requests: dict[str, Callable[[], RequestView]] = {}
        self._on_change = on_change
        self._on_move = on_move
        self._clock = clock
        self._view = ModelView(
            id=entry.id,
            path=str(entry.path),
            backend=entry.backend,
            runtime=runtime.name,
            backend_version=runtime.version,
            weight_bytes=entry.weight_bytes,
            strike_limit=strike_limit,
            host=place.host,
            family=family,
        )
        self.replace_entry(entry, runtime)

    @property
    def id(self) -> str:
        """The model's id."""
        return self.entry.id

    @property
    def family(self) -> str:
        """The id that means it and its copies on other hosts together."""
        return self._view.family

    @property
    def readiness(self) -> Readiness:
        """Where the model stands."""
        return self._view.readiness

    @property
    def view(self) -> ModelView:
        """The model as it may be shown."""
        return self._view

    @property
    def key(self) -> Key:
        """What a verdict or a strike is about. The fingerprint must have been taken."""
        return self.key_of(self.fingerprint, self.runtime.version)

    def key_of(self, fingerprint: str, version: str) -> Key:
        """The key of another content of this model, or on another backend version."""
        where = self.place
        host = where.host if where.away else ""
        return Key(fingerprint, self.entry.backend, version, where.kind, host)

    def replace_entry(self, entry: CatalogEntry, runtime: Runtime) -> None:
        """The disk was looked at again: take what it says now."""
        self.entry, self.runtime = entry, runtime
        self.change(
            path=str(entry.path),
            backend=entry.backend,
            runtime=runtime.name,
            backend_version=runtime.version,
            weight_bytes=entry.weight_bytes,
            architecture=entry.architecture,
            quantisation=entry.quantisation,
            context_trained=entry.context_trained,
            simulated=entry.backend is Backend.SIMULATED,
            buildable=entry.build_from is not None,
        )

    def change(self, **fields: object) -> None:
        """Set view fields; the board hears of it only when something differs."""
        changed = replace(self._view, **fields)  # type: ignore[arg-type]
        if changed != self._view:
            self._view = changed
            self._on_change()

    def move(self, target: Readiness, cause: Cause, actor: str, **fields: object) -> Transition:
        """Go to another readiness along the transition table.

        Args:
            actor: Who caused it: an operator, or ``engine``.
            fields: View fields that change with it.

        Raises:
            IllegalTransition: the table has no such edge.
        """
        step = Transition(
            at=self._clock(),
            source=self.readiness,
            target=move(self.readiness, target, cause),
            cause=cause.value,
            actor=actor,
        )
        self._view = replace(
            self._view,
            readiness=target,
            since=step.at,
            version=self._view.version + 1,
            transitions=(*self._view.transitions[-(TIMELINE - 1) :], step),
            **fields,  # type: ignore[arg-type]
        )
        self._on_change()
        self._on_move(self)
        return step

    def fall(self, otherwise: Cause | None = None, *, released: bool, **fields: object) -> None:
        """Be left without a worker: unloaded, or back in quarantine where a release had begun.

        Args:
            otherwise: Why it is unloaded; None says by how far its load had come.
            released: It was on its way out of quarantine.
            fields: View fields that change with it.
        """
        if released:
            target, cause = Readiness.QUARANTINED, Cause.RELEASE_FAILED
        else:
            started = self.readiness is not Readiness.ADMITTED
            target = Readiness.UNLOADED
            cause = otherwise or (Cause.ENVIRONMENT if started else Cause.NO_ROOM)
        self.move(target, cause, "engine", **BLANK, **fields)

    def recall(self, readiness: Readiness, **fields: object) -> None:
        """Take the standing the files on disk give it: no transition, it was left so, or what it
        was quarantined for is no longer what it would be loaded as."""
        if readiness is not self.readiness:
            fields |= {"readiness": readiness, "since": self._clock()}
            fields["version"] = self._view.version + 1
        self.change(**fields)

    @property
    def requests(self) -> dict[str, RequestView]:
        """The requests it has, waiting ones included, by their ids, as they stand now."""
        return {request_id: look() for request_id, look in self._requests.items()}

    def track(self, request_id: str, look: Callable[[], RequestView]) -> None:
        """Note a request.

        Args:
            look: How it stands, asked whenever somebody wants to see it: a screen does five times
                a second, and a request moves with every token.
        """
        self._requests[request_id] = look
        self.change(requests=len(self._requests))

    def advance(self) -> None:
        """One of its requests has come further."""
        self._on_change()

    def forget(self, request_id: str) -> None:
        """A request has ended."""
        self._requests.pop(request_id, None)
        self.change(requests=len(self._requests))


def unknown(name: str, count: int) -> Decision:
    """What is told of a name no model has, of ``count`` models."""
    return refuse(
        Code.MODEL_NOT_FOUND,
        f"no model named {clean_line(name, limit=120)!r}",
        expected="an id of the catalog",
        found=f"{count} models, none of this name",
        remedy="see `lmx models`, or rescan after a download",
        param="model",
    )


def decided_on(model: Model, expect: int | None) -> None:
    """Refuse an action that was decided on another state of the model than it is in now.

    Raises:
        EngineError: ``conflict``.
    """
    if expect is not None and expect != model.view.version:
        raise EngineError(
            refuse(
                Code.CONFLICT,
                f"{model.id} changed meanwhile: it is now {model.readiness.value}",
                expected=f"version {expect}",
                found=f"version {model.view.version}",
                remedy="look at it again, then decide",
            )
        )


def not_ready(view: ModelView) -> Decision:
    """What a client is told of a model that is known but not routable."""
    coming = view.readiness in (Readiness.ADMITTED, Readiness.LOADING, Readiness.CANARY_PENDING)
    state = "draining" if view.draining else view.readiness.value
    if view.readiness is Readiness.ROUTABLE and not view.draining:
        # Its worker has just died and what follows is not decided yet: mostly a restart.
        coming, state = True, "without its worker"
    return refuse(
        Code.MODEL_NOT_READY,
        f"{view.id} is {state}",
        retry_after_s=5.0 if coming else None,
        expected="routable",
        found=state,
        remedy="wait until it is routable" if coming else "load it first",
    )


def shutting_down() -> Decision:
    """What everybody is told of an engine that is ending, or has not begun."""
    return refuse(
        Code.SHUTTING_DOWN,
        "the engine is not serving: it is ending, or has not started yet",
        retry_after_s=5.0,
        expected="a serving engine",
        found="one that starts or ends",
        remedy="try again in a few seconds",
    )
