"""The board: every model, one version counter, and the immutable snapshot screens pull."""

from collections.abc import Callable
from dataclasses import replace

from engine.lives.model import Model
from engine.types import EngineSnapshot, Notice


class Board:
    """Holds the models and builds snapshots; written only on the engine's event loop."""

    def __init__(
        self, clock: Callable[[], float], fill: Callable[[EngineSnapshot], EngineSnapshot]
    ) -> None:
        """Args:
        fill: Adds to a snapshot what other rooms know: quarantine, registry, events, memory.
        """
        self.models: dict[str, Model] = {}
        self.notices: dict[str, Notice] = {}
        self._clock = clock
        self._fill = fill
        self._version = 1
        self._snapshot: EngineSnapshot | None = None

    def changed(self) -> int:
        """Something differs from the last snapshot; returns the version that will say so."""
        if self._snapshot is not None and self._snapshot.version == self._version:
            self._version += 1
        return self._version

    def notice(self, notice: Notice) -> None:
        """Put up a lasting banner; one with the same id is replaced."""
        if self.notices.get(notice.id) != notice:
            self.notices[notice.id] = notice
            self.changed()

    def unnotice(self, notice_id: str) -> None:
        """Take a banner down."""
        if self.notices.pop(notice_id, None) is not None:
            self.changed()

    def snapshot(self) -> EngineSnapshot:
        """The state as of now; the same object while nothing changed."""
        if self._snapshot is None or self._snapshot.version != self._version:
            ordered = [self.models[model_id] for model_id in sorted(self.models)]
            bare = EngineSnapshot(
                version=self._version,
                taken_at=self._clock(),
                models=tuple([model.view for model in ordered]),
                requests=tuple(r for m in ordered if m.view.requests for r in m.requests.values()),
                notices=tuple(self.notices.values()),
            )
            self._snapshot = replace(self._fill(bare), version=self._version)
        return self._snapshot
