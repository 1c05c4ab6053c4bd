"""A worker's main loop: frames in, one step, frames out, for ever.

It runs on the main thread, because MLX must, and knows no backend: whatever computes is behind
``ModelBackend``.
"""

import os
import time
import traceback
from collections.abc import Callable

from engine.backends.base import LoadError, ModelBackend, RequestError, StepEvent
from engine.types import Backend
from engine.workers.channel import Channel
from engine.workers.protocol import (
    PROTOCOL,
    Cancel,
    Failed,
    Finished,
    FromWorker,
    Generate,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    Probe,
    Probed,
    Progress,
    ProtocolError,
    Shutdown,
    Stats,
    ToWorker,
)

_BEAT_S = 1.0
_PROGRESS_S = 0.05
"""Load progress goes out at most this often: a screen draws five times a second."""
_NOTICEABLE = 0.01
"""Share by which the memory must have changed to be told again."""
_ENDS = (Finished, Failed)
"""A tuple, because a union would be made anew with every token."""


class StepFailed(Exception):
    """The backend failed in the middle of a step: what it holds now is unknown."""


class Loop:
    """Serves one parent until it says stop.

    Args:
        channel: The way to the parent.
        backend: The backend, imported and without a model.
        kind: Which one it is.
        idle: Called whenever nothing is to be computed, at least once a second.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        channel: Channel,
        backend: ModelBackend,
        kind: Backend,
        *,
        idle: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._backend = backend
        self._kind = kind
        self._idle = idle
        self._clock = clock
        self._load_seen = False
        self._loaded = False
        self._requests: set[str] = set()
        self._beat = clock()
        self._progress = -_PROGRESS_S
        self._stage = ""
        self._told: Stats | None = None

    def run(self) -> None:
        """Serve until ``Shutdown``; the backend is closed then.

        Raises:
            ChannelClosed: the parent is gone.
            ProtocolError: the parent does not speak the protocol.
            StepFailed: the backend failed; its requests have been told.
        """
        self._channel.send([self._hello()])
        while True:
            busy = self._loaded and self._backend.active > 0
            until_beat = max(0.0, self._beat + _BEAT_S - self._clock())
            for frame in self._channel.receive(None if busy else until_beat):
                if isinstance(frame, Shutdown):
                    self._backend.close()
                    return
                self._channel.send(self._apply(frame))
            self._turn()

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            pid=os.getpid(),
            backend=self._kind,
            backend_version=self._backend.backend_version,
            device=self._backend.device,
        )

    def _turn(self) -> None:
        """One step or one idle moment, and what there is to say of it, in one write."""
        frames: list[FromWorker] = []
        if self._loaded and self._backend.active:
            frames.extend(self._step())
        elif self._idle is not None:
            self._idle()
        now = self._clock()
        if now - self._beat >= _BEAT_S:
            self._beat = now
            frames.append(Heartbeat(active=len(self._requests)))
            frames.extend(self._stats())
        if frames:
            self._channel.send(frames)

    def _step(self) -> list[StepEvent]:
        try:
            events = self._backend.step()
        except Exception as error:
            raise self._broken(error) from error
        for event in events:
            if isinstance(event, _ENDS) and event.id is not None:
                self._requests.discard(event.id)
        return events

    def _broken(self, error: Exception) -> StepFailed:
        """Tell every request in flight, with the traceback as evidence on standard error."""
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        self._channel.send(
            Failed(id=request, kind="internal", message=message)
            for request in sorted(self._requests)
        )
        return StepFailed(message)

    def _stats(self) -> list[FromWorker]:
        if not self._loaded:
            return []
        stats = Stats(
            memory_bytes=self._backend.memory_bytes(),
            active=self._backend.active,
            queued=self._backend.queued,
        )
        told = self._told
        if told is not None and (told.active, told.queued) == (stats.active, stats.queued):
            change = abs(stats.memory_bytes - told.memory_bytes)
            if change < _NOTICEABLE * max(told.memory_bytes, 1):
                return []
        self._told = stats
        return [stats]

    def _apply(self, frame: ToWorker) -> list[FromWorker]:
        match frame:
            case Load():
                return [self._load(frame)]
            case Generate():
                return self._submit(frame)
            case Probe():
                return [self._probe(frame)]
            case Cancel():
                if self._loaded:
                    self._backend.cancel(frame.id)
        return []

    def _load(self, frame: Load) -> Loaded | Failed:
        if self._load_seen:
            raise ProtocolError("a second load; a worker has one model in its life")
        self._load_seen = True
        try:
            loaded = self._backend.load(frame, self._report)
        except LoadError as error:
            return Failed(kind="LoadError", message=str(error))
        except Exception as error:  # whatever the native library throws; the parent classifies it
            traceback.print_exc()
            return Failed(kind=type(error).__name__, message=str(error))
        self._loaded = True
        return loaded

    def _report(self, fraction: float | None, stage: str) -> None:
        now = self._clock()
        last = fraction is not None and fraction >= 1
        if now - self._progress < _PROGRESS_S and stage == self._stage and not last:
            return
        self._progress, self._stage = now, stage
        self._channel.send([Progress(stage=stage, fraction=fraction)])

    def _submit(self, frame: Generate) -> list[FromWorker]:
        if frame.id in self._requests:
            raise ProtocolError(f"request {frame.id!r} is in flight already")
        if not self._loaded:
            return [Failed(id=frame.id, kind="invalid", message="no model is loaded")]
        try:
            self._backend.submit(frame)
        except RequestError as error:
            return [Failed(id=frame.id, kind=error.kind, message=str(error))]
        except Exception as error:
            self._requests.add(frame.id)
            raise self._broken(error) from error
        self._requests.add(frame.id)
        return []

    def _probe(self, frame: Probe) -> Probed:
        if not self._loaded:
            return Probed(id=frame.id, name=frame.name, ok=False, detail="no model is loaded")
        try:
            return self._backend.probe(frame)
        except RequestError as error:
            return Probed(id=frame.id, name=frame.name, ok=False, detail=str(error))
        except MemoryError as error:  # no fault of the model: it must not fail its canary
            raise self._broken(error) from error
        except Exception as error:  # the canary fails with it, and the worker is ended
            traceback.print_exc()
            detail = f"{type(error).__name__}: {error}"
            return Probed(id=frame.id, name=frame.name, ok=False, detail=detail)
