"""An engine that shows the same thing twice: for recordings, what varies from run to run is fixed.

Times, speeds and process ids are what a machine happened to give; everything else is the engine's.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import engine
from engine import (
    CanaryStep,
    CanaryView,
    ChatDelta,
    ChatEnd,
    ChatOptions,
    ChatStream,
    ChatTurn,
    EngineFace,
    EngineSnapshot,
    Explanation,
    Lane,
    LoadOptions,
    ModelView,
    Readiness,
    RegistryRow,
    StepResult,
)

HOST = "mono512"
FOLDER = "/tmp/lmx-demo"  # noqa: S108 - a name to show, no file
_PROGRAM = f"{Path(engine.__file__).parent.parent}/"
"""Where this program lies: a worker's last words name its files."""
PROGRESS = 0.42
SPEED, FIRST_TOKEN_MS = 40.0, 31.0
PROCESS = 4242
STEP_MS = {
    "handshake": 2.0,
    "tokenizer": 1.0,
    "template": 3.0,
    "logits": 61.0,
    "perplexity": 240.0,
    "decode": 310.0,
    "streaming": 122.0,
    "cancel": 88.0,
    "memory": 4.0,
}
_SPEED = re.compile(r"\d+(?:\.\d+)? tok/s")
_CANCELLED = re.compile(r"after \d+ tok\b")
_SO_FAR = re.compile(r"^\d+/(\d+) tok$")


class StillEngine:
    """Passes everything on to an engine and stills what it answers.

    Args:
        face: The real one.
        folder: The stage's folder, which has another name each time.
    """

    def __init__(self, face: EngineFace, folder: Path) -> None:
        self._face = face
        self._folder = str(folder)
        self._seen: EngineSnapshot | None = None
        self._shown: EngineSnapshot | None = None
        self.frozen = False
        """While true, the last snapshot is the only one there is."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._face, name)

    def snapshot(self) -> EngineSnapshot:
        """The engine's, stilled; the same object while nothing changed."""
        if self.frozen and self._shown is not None:
            return self._shown
        seen = self._face.snapshot()
        if seen is not self._seen or self._shown is None:
            self._seen, self._shown = seen, replace(self._still(seen), host=HOST)
        return self._shown

    async def rows(self, model_id: str | None = None, *, limit: int) -> tuple[RegistryRow, ...]:
        """The registry's rows, stilled like the snapshot's."""
        found: tuple[RegistryRow, ...] = self._still(await self._face.rows(model_id, limit=limit))
        return found

    async def explain(self, model_id: str, options: LoadOptions | None = None) -> Explanation:
        """The gate's answer, with the folder's name stilled."""
        told: Explanation = self._still(
            await self._face.explain(model_id, options or LoadOptions())
        )
        return told

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
    ) -> "StillStream":
        """The model's answer, as fast as every other."""
        stream = await self._face.chat(
            model_id,
            turns,
            options or ChatOptions(),
            client=client,
            prompt=prompt,
            lane=lane,
            trusted=trusted,
        )
        return StillStream(stream, self._still)

    def _still(self, value: Any) -> Any:
        """The same value with everything that varies in it fixed, however deep it lies."""
        if isinstance(value, str):
            told = value.replace(self._folder, FOLDER).replace(_PROGRAM, "")
            return _words(told) if type(value) is str else value
        if isinstance(value, tuple):
            return tuple(self._still(each) for each in value)
        if isinstance(value, Mapping):
            return {key: self._still(each) for key, each in value.items()}
        if not is_dataclass(value) or isinstance(value, type):
            return value
        changes = {f.name: self._still(getattr(value, f.name)) for f in fields(value) if f.init}
        return _stilled(replace(value, **changes))


class StillStream:
    """An answer whose figures are always the same; ``still`` fixes them."""

    def __init__(self, stream: ChatStream, still: Callable[[Any], Any]) -> None:
        self._stream = stream
        self._still = still

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]:
        async for item in self._stream:
            yield self._still(item)


def _words(text: str) -> str:
    text = _SPEED.sub(f"{SPEED:g}.0 tok/s", text)
    return _SO_FAR.sub(r"7/\1 tok", _CANCELLED.sub("after 2 tok", text))


def _stilled(value: Any) -> Any:
    """One record with its own figures fixed."""
    match value:
        case CanaryStep() if value.ms is not None:
            return replace(value, ms=STEP_MS.get(value.name, 1.0))
        case CanaryStep() if value.result is StepResult.RUNNING:
            return replace(value, detail="")
        case CanaryView() | ChatEnd():
            return replace(
                value,
                ttft_ms=value.ttft_ms and FIRST_TOKEN_MS,
                tokens_per_second=value.tokens_per_second and SPEED,
            )
        case ModelView():
            loading = value.readiness is Readiness.LOADING and value.progress is not None
            return replace(
                value,
                progress=PROGRESS if loading else value.progress,
                pid=value.pid and PROCESS,
                measured_bytes=value.measured_bytes and value.weight_bytes,
                tokens_per_second=value.tokens_per_second and SPEED,
            )
    return value
