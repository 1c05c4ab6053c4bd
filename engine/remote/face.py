"""An engine in another process, as a console sees any engine."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from engine.delta import adapter_of
from engine.errors import Code, EngineError
from engine.face import ChatOptions, ChatTurn, Lane, LoadOptions, OutOfReach
from engine.remote import chat
from engine.remote.link import Link
from engine.remote.watcher import Watcher
from engine.types import EngineSnapshot, Event, Explanation, RegistryRow

AGAIN_S = (0.3, 1.0, 3.0)
"""An action whose connection broke is sent again after so long, with the same key."""
_RENAMED = {"keep_alive_s": "keep_alive_sec"}


class RemoteEngine:
    """Speaks the admin API; see :class:`engine.face.EngineFace` for what each call promises.

    Every action carries a key, under which the engine does it once however often it is sent, and
    the life of the engine it was decided on: one that was started again does nothing of it. Any
    call may raise OutOfReach besides EngineError.

    Args:
        link: How the engine is reached, and who acts.
        version: Of this program.
    """

    def __init__(
        self,
        link: Link,
        *,
        version: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._link = link
        self._local = clock
        self._new_id = new_id
        self._watcher = Watcher(link, version=version, clock=clock, monotonic=monotonic)
        self._watching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The engine as people call it: ``HOST:PORT``."""
        return self._link.name

    @property
    def readonly(self) -> bool:
        """Whether it lets nothing be changed."""
        return self._watcher.readonly

    def clock(self) -> float:
        """The engine's time: what it dates would look older or younger by another clock."""
        return self._local() + self._watcher.ahead_s

    async def start(self) -> None:
        """Watch it; returns once its state is known. Raises FaceMismatch."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watcher.run())
        await self._watcher.known.wait()
        self._check()

    async def stop(self, *, drain_s: float = 0.0) -> None:  # noqa: ARG002 - nothing is drained
        """Let go of it. It stops nothing there. Safe to call twice."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._watcher.chronicle.close()

    def _check(self) -> None:
        if self._watcher.mismatch is not None:
            raise self._watcher.mismatch

    # -- what is shown --------------------------------------------------------------------------

    def snapshot(self) -> EngineSnapshot:
        """The newest state that has come. Raises FaceMismatch: the engine was exchanged."""
        self._check()
        return self._watcher.snapshot

    def silent_s(self) -> float:
        """For how long the engine should have been heard of and was not, in seconds."""
        return self._watcher.silent_s()

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """Events held here with a sequence above ``after``, oldest first."""
        return self._watcher.chronicle.after(after)

    async def rows(self, model_id: str | None = None, *, limit: int) -> tuple[RegistryRow, ...]:
        """The registry's newest rows, newest first."""
        query: dict[str, str] = {"limit": str(limit), "summary": "false"}
        if model_id is not None:
            query["model_id"] = model_id
        told = await self._link.ask("GET", f"/admin/models/compatibility?{urlencode(query)}")
        rows: tuple[RegistryRow, ...] = _read(tuple[RegistryRow, ...], told["rows"])
        return rows

    # -- the gate -------------------------------------------------------------------------------

    async def explain(self, model_id: str, options: LoadOptions | None = None) -> Explanation:
        """Run the gate there, without loading."""
        body = told_of(model_id, options)
        for name in ("keep_alive_sec", "unattended"):
            body.pop(name, None)
        told = await self._link.ask("POST", "/admin/models/explanation", body)
        explanation: Explanation = _read(Explanation, told)
        return explanation

    async def render(self, model_id: str, turns: Sequence[ChatTurn]) -> str:
        """The prompt a routable model would be given for a conversation."""
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        body = {"model_id": model_id, "messages": messages}
        return str((await self._link.ask("POST", "/admin/models/render", body))["prompt"])

    # -- actions --------------------------------------------------------------------------------

    async def load(
        self,
        model_id: str,
        options: LoadOptions | None = None,
        *,
        actor: str,  # noqa: ARG002 - the link says who acts
        expect: int | None = None,
        wait: bool = False,
    ) -> tuple[str, ...]:
        """Admit and start loading there."""
        return await self._act(
            "load", told_of(model_id, options) | {"expect": expect, "wait": wait}
        )

    async def unload(
        self,
        model_id: str,
        *,
        actor: str,  # noqa: ARG002
        expect: int | None = None,
    ) -> tuple[str, ...]:
        """Drain and end the worker."""
        return await self._act("unload", {"model_id": model_id, "expect": expect})

    async def release(
        self,
        model_id: str,
        *,
        actor: str,  # noqa: ARG002
        expect: int | None = None,
        early: bool = False,
        allow_unsupported_runtime: bool = False,
    ) -> tuple[str, ...]:
        """Let a quarantined model try again."""
        body = {"model_id": model_id, "expect": expect, "early": early, "wait": False}
        if allow_unsupported_runtime:
            body["allow_unsupported_runtime"] = True
        return await self._act("release", body)

    async def hold(
        self,
        model_id: str,
        *,
        actor: str,  # noqa: ARG002
        expect: int | None = None,
    ) -> tuple[str, ...]:
        """Quarantine by hand, until released."""
        return await self._act("hold", {"model_id": model_id, "expect": expect})

    async def canary(
        self,
        model_id: str,
        *,
        actor: str,  # noqa: ARG002
        expect: int | None = None,
    ) -> tuple[str, ...]:
        """Run the canary again on a routable model; how it went is on its row."""
        try:
            return await self._act("canary", {"model_id": model_id, "expect": expect})
        except EngineError as error:
            if error.decision.code is not Code.MODEL_CANARY_FAILED:
                raise
            return (model_id,)

    async def prove_outdated(self, model_ids: Sequence[str], *, actor: str) -> None:  # noqa: ARG002
        """Prove the models of an older version again, in the background."""
        await self._act("prove", {"models": list(model_ids)})

    async def stop_proving(self, *, actor: str) -> None:  # noqa: ARG002
        """End what :meth:`prove_outdated` began."""
        await self._act("stop-proving")

    async def rescan(self) -> None:
        """Have it look at its disk again."""
        await self._act("rescan")

    async def cancel(self, request_id: str, *, actor: str) -> None:  # noqa: ARG002
        """Cancel one request in flight; one that has ended is none."""
        try:
            await self._once("DELETE", f"/admin/requests/{quote(request_id, safe='')}")
        except EngineError as error:
            if error.decision.code is not Code.PATH_NOT_FOUND:
                raise

    async def _act(self, name: str, body: dict[str, Any] | None = None) -> tuple[str, ...]:
        told = await self._once("POST", f"/admin/models/{name}", body)
        return tuple(map(str, told.get("touched", ())))

    async def _once(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Have it done once, also where the connection breaks on the way there or back."""
        headers = {"Idempotency-Key": self._new_id()}
        if self._watcher.boot:
            headers["X-LMX-Engine"] = self._watcher.boot
        for pause in AGAIN_S:
            try:
                return await self._link.ask(method, path, body, headers)
            except OutOfReach:
                await asyncio.sleep(pause)
        return await self._link.ask(method, path, body, headers)

    # -- requests -------------------------------------------------------------------------------

    async def chat(
        self,
        model_id: str,
        turns: Sequence[ChatTurn],
        options: ChatOptions | None = None,
        *,
        client: str,
        prompt: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
        trusted: bool = False,  # noqa: ARG002 - the admin key says so
    ) -> chat.RemoteChat:
        """Ask a routable model, over the same endpoint as any client."""
        body = chat.asked(model_id, turns, options or ChatOptions(), prompt)
        return await chat.ask(self._link, body, client=client, lane=lane)


def told_of(model_id: str, options: LoadOptions | None) -> dict[str, Any]:
    """What a load is told, in the API's words; what is left to the settings is left out."""
    told: dict[str, Any] = {"model_id": model_id}
    blank, options = LoadOptions(), options or LoadOptions()
    for field in fields(LoadOptions):
        value = getattr(options, field.name)
        if value != getattr(blank, field.name):
            told[_RENAMED.get(field.name, field.name)] = value
    return told


def _read(kind: Any, told: object) -> Any:
    try:
        return adapter_of(kind).validate_python(told)
    except ValidationError as error:
        raise OutOfReach("the engine's answer cannot be read") from error
