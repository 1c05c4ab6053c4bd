"""A scripted engine: the real one's face with no threads, no files and a clock that stands still.

Tests put it into any state with :meth:`ScriptedEngine.set`, script refusals and chat streams, and
read from ``calls`` what the console asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine import (
    Archive,
    Backend,
    ChatDelta,
    ChatEnd,
    ChatOptions,
    ChatTurn,
    Check,
    CheckResult,
    Decision,
    EngineError,
    EngineSnapshot,
    Event,
    Explanation,
    Lane,
    LoadOptions,
    MemoryView,
    PerformanceView,
    RegistryRow,
    RuntimeView,
)

T0 = 1_700_748_131.0
"""2023-11-23 14:02:11 UTC: the moment every scripted picture is taken at."""

GB = 1_000_000_000
LIVE = ("admitted", "loading", "canary_pending", "routable")


class Clock:
    """A clock that moves only when told to; serves as wall clock and as monotonic clock."""

    def __init__(self, now: float = T0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(frozen=True)
class Call:
    """One thing the console asked of the engine."""

    name: str
    model_id: str
    arguments: dict[str, Any]


class ScriptedStream:
    """An answer whose every step the test plays; ``hold`` keeps it open until cancelled."""

    def __init__(self, items: Sequence[ChatDelta | ChatEnd], *, hold: bool = False) -> None:
        self.request_id = "req-1"
        self.model_id = "model"
        self.thinking = False
        self.cancelled = asyncio.Event()
        self._items = list(items)
        self._hold = hold

    async def _play(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        for item in self._items:
            if self.cancelled.is_set():
                break
            yield item
            await asyncio.sleep(0)
        if self._hold:
            await self.cancelled.wait()
        if self.cancelled.is_set():
            yield ChatEnd(reason="cancelled")

    def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        return self._play()

    def cancel(self) -> None:
        """What the real stream does within one step."""
        self.cancelled.set()


class ScriptedArchive(Archive):
    """The rows of a script, older ones included that a snapshot does not show."""

    def __init__(self, rows: Sequence[RegistryRow]) -> None:
        self._rows = tuple(rows)

    def rows(
        self,
        model_id: str | None = None,
        backend: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[RegistryRow, ...]:
        return tuple(row for row in self._rows if model_id in (None, row.model_id))[:limit]


class ScriptedDesk:
    """Keeps what the API reports."""

    def __init__(self, rows: Callable[[], Sequence[RegistryRow]]) -> None:
        self._rows = rows
        self.address = ""
        self.trouble = ""
        self.notes: list[tuple[str, str]] = []

    def opened(self, address: str) -> None:
        self.address = address

    def closed(self) -> None:
        self.address = ""

    def down(self, why: str) -> None:
        self.trouble = why

    def note(
        self,
        kind: str,
        message: str,
        *,
        actor: str = "api",
        level: str = "info",
        data: Mapping[str, object] | None = None,
    ) -> None:
        self.notes.append((kind, message))

    def performance(self, model_id: str) -> PerformanceView:
        return PerformanceView(model_id, T0)

    def archive(self) -> Archive:
        return ScriptedArchive(self._rows())

    def history(self, after: int) -> Iterator[Event]:
        return iter(())

    def copies(self, name: str) -> tuple[str, ...]:
        return (name,)

    async def probe(self, model_id: str, options: LoadOptions) -> tuple[Explanation, ...]:
        return ()

    def stalled_s(self) -> float:
        return 0.0


class ScriptedEngine:
    """Implements ``EngineFace`` for tests.

    Args:
        snapshot: The first state; :func:`snapshot_of` builds one.
    """

    def __init__(self, snapshot: EngineSnapshot | None = None) -> None:
        self._snapshot = snapshot or snapshot_of()
        self.calls: list[Call] = []
        self.refusals: dict[str, Decision] = {}
        """By method name: what that method refuses with from now on."""
        self.broken: Exception | None = None
        """What every pull raises while set."""
        self.start_error: Exception | None = None
        self.explanations: dict[str, Explanation] = {}
        self.streams: list[ScriptedStream] = []
        """Streams handed out in order by :meth:`chat`; an empty list plays a short answer."""
        self.stopped = False
        self.older: tuple[RegistryRow, ...] = ()
        """Rows of the registry before those of the snapshot."""
        self.desk = ScriptedDesk(lambda: (*self._snapshot.registry, *self.older))

    def set(self, snapshot: EngineSnapshot | None = None, **changes: Any) -> EngineSnapshot:
        """Show another state: a whole snapshot, or the present one with fields changed."""
        base = snapshot or self._snapshot
        version = max(self._snapshot.version, base.version) + 1
        self._snapshot = replace(base, version=version, **changes)
        return self._snapshot

    def change(self, model_id: str, **changes: Any) -> EngineSnapshot:
        """Change one model; its version rises with its readiness, as in the real engine."""
        models = tuple(
            replace(m, **{"version": m.version + ("readiness" in changes), **changes})
            if m.id == model_id
            else m
            for m in self._snapshot.models
        )
        return self.set(models=models)

    def asked(self, name: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.name == name]

    def _note(self, name: str, model_id: str = "", **arguments: Any) -> None:
        self.calls.append(Call(name, model_id, arguments))
        if name in self.refusals:
            raise EngineError(self.refusals[name])

    async def start(self) -> None:
        self._note("start")
        if self.start_error is not None:
            raise self.start_error

    async def stop(self, *, drain_s: float = 0.0) -> None:
        self._note("stop", drain_s=drain_s)
        self.stopped = True

    def snapshot(self) -> EngineSnapshot:
        if self.broken is not None:
            raise self.broken
        return self._snapshot

    async def explain(self, model_id: str, options: LoadOptions | None = None) -> Explanation:
        self._note("explain", model_id, options=options)
        if model_id in self.explanations:
            return self.explanations[model_id]
        model = self._snapshot.model(model_id)
        return Explanation(
            model_id=model_id,
            path=model.path if model else "",
            backend=model.backend if model else None,
            backend_version=model.backend_version if model else "",
            runtime="installed",
            admitted=True,
            checks=(Check("present", CheckResult.PASS, "a model", "a model"),),
            estimate=model.estimate if model else None,
        )

    async def load(
        self,
        model_id: str,
        options: LoadOptions | None = None,
        *,
        actor: str,
        expect: int | None = None,
        wait: bool = False,
    ) -> tuple[str, ...]:
        self._note("load", model_id, options=options, actor=actor, expect=expect, wait=wait)
        return (model_id,)

    async def unload(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        self._note("unload", model_id, actor=actor, expect=expect)
        return (model_id,)

    async def release(
        self,
        model_id: str,
        *,
        actor: str,
        expect: int | None = None,
        early: bool = False,
        allow_unsupported_runtime: bool = False,
    ) -> tuple[str, ...]:
        self._note("release", model_id, actor=actor, expect=expect, early=early)
        return (model_id,)

    async def hold(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        self._note("hold", model_id, actor=actor, expect=expect)
        return (model_id,)

    async def render(self, model_id: str, turns: Sequence[ChatTurn]) -> str:
        self._note("render", model_id, turns=tuple(turns))
        return "".join(f"<|{turn.role}|>\n{turn.content}</s>\n" for turn in turns)

    def resolve(self, name: str) -> str:
        return name

    def why_not(self, model_id: str) -> Decision | None:
        return None

    async def canary(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        self._note("canary", model_id, actor=actor, expect=expect)
        return (model_id,)

    async def prove_outdated(self, model_ids: Sequence[str], *, actor: str) -> None:
        self._note("prove_outdated", models=tuple(model_ids), actor=actor)

    async def stop_proving(self, *, actor: str) -> None:
        self._note("stop_proving", actor=actor)

    async def chat(
        self,
        model_id: str,
        turns: Sequence[ChatTurn],
        options: ChatOptions | None = None,
        *,
        client: str,
        prompt: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
        trusted: bool = False,
    ) -> ScriptedStream:
        self._note("chat", model_id, turns=tuple(turns), options=options, client=client)
        if self.streams:
            return self.streams.pop(0)
        end = ChatEnd("stop", 9, 3, ttft_ms=120.0, tokens_per_second=46.2)
        return ScriptedStream([ChatDelta("It", 1), ChatDelta(" works", 1), ChatDelta(".", 1), end])

    async def cancel(self, request_id: str, *, actor: str) -> None:
        self._note("cancel", request_id=request_id, actor=actor)

    async def rescan(self) -> None:
        self._note("rescan")

    def silent_s(self) -> float:
        return 0.0

    async def rows(self, model_id: str | None = None, *, limit: int) -> tuple[RegistryRow, ...]:
        return self.desk.archive().rows(model_id, limit=limit)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        return tuple(event for event in self._snapshot.events if event.seq > after)


def snapshot_of(*models: Any, **fields: Any) -> EngineSnapshot:
    """A started engine on a 512 GB machine with these models."""
    reserved = sum(m.estimate.total for m in models if m.estimate and m.readiness in LIVE)
    defaults: dict[str, Any] = {
        "version": 1,
        "taken_at": T0,
        "started": True,
        "models": tuple(models),
        "memory": MemoryView(512 * GB, reserved, reserved, 512 * GB - reserved),
        "runtimes": (
            RuntimeView("installed", Backend.MLX, "mlx-lm 0.32.2, mlx 0.32.4"),
            RuntimeView("installed", Backend.GGUF, "llama.cpp 0.3.36"),
        ),
        "host": "mono512",
        "api": ":1234",
    }
    return EngineSnapshot(**{**defaults, **fields})
