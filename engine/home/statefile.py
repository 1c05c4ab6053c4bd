"""``state.json``: what must be known again after a restart. Small, and replaced in one step."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from engine.home import disk
from engine.text import clean_line
from engine.types import Backend, Evidence, Key

_LIMIT = 64 * 1024 * 1024
"""A state file longer than this in bytes is not ours."""


def _empty(text: str) -> bool:
    """What only a cluster needs is not written without one."""
    return not text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Strike(_Part):
    """One counted failure. ``ran_s`` is the model's running time when it happened."""

    at: float
    ran_s: float
    window_s: float


Kind = Literal["strikes", "canary", "registry"]
"""What led to a quarantine: crashes and hangs, a failed canary, or a rebuilt state."""


class Sentence(_Part):
    """A quarantine: its cause, and from when on a release needs no ``early``."""

    kind: Kind
    reason: str
    since: float
    eligible_at: float
    cool_down_s: float
    strikes: NonNegativeInt


class Case(_Part):
    """What is held against one content on one backend version.

    ``ran_s`` is its loading and routable time, ``clean_s`` the routable time since its last
    failure, ``level`` how many quarantines in a row it has had.
    """

    model_id: str
    fingerprint: str
    backend: Backend
    backend_version: str
    host_class: str = Field(default="", exclude_if=_empty)
    host: str = Field(default="", exclude_if=_empty)
    ran_s: float = 0.0
    clean_s: float = 0.0
    level: NonNegativeInt = 0
    strikes: tuple[Strike, ...] = ()
    sentence: Sentence | None = None
    first: Evidence | None = None
    last: Evidence | None = None
    worst: Evidence | None = None

    @property
    def key(self) -> Key:
        where = self.host_class, self.host
        return Key(self.fingerprint, self.backend, self.backend_version, *where)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """First, worst and last, oldest first, each once."""
        kept = (self.first, self.worst, self.last)
        by_id = {item.id: item for item in kept if item is not None}
        return tuple(sorted(by_id.values(), key=lambda item: item.at))


class Hold(_Part):
    """A quarantine by hand, on the model's id, so that no upgrade lifts it."""

    model_id: str
    since: float
    actor: str
    reason: str
    family: str = Field(default="", exclude_if=_empty)
    """Whose every copy is held, those on hosts that are not there yet included."""


class Intent(_Part):
    """One worker, from spawn to exit. What is found of it at a start is an end nobody saw."""

    id: str
    boot_id: str
    model_id: str
    backend: str
    backend_version: str
    fingerprint: str
    since: float
    phase: str
    host: str = Field(default="", exclude_if=_empty)
    """Where it ran, if not on the engine's own host: that one's boot says nothing of it."""
    pid: int | None = None
    requests: tuple[str, ...] = ()
    """One short line for each request in flight: digest and client."""


class Suspicion(_Part):
    """A request that was in flight when a model died, and how often."""

    model_id: str
    digest: str
    client: str
    deaths: NonNegativeInt
    last_at: float


class State(_Part):
    """The whole file."""

    version: Literal[1] = 1
    cases: tuple[Case, ...] = ()
    holds: tuple[Hold, ...] = ()
    intents: tuple[Intent, ...] = ()
    unclean: tuple[Intent, ...] = Field(default=())
    """Ends that took the machine down; such a model is not loaded by itself."""
    suspicions: tuple[Suspicion, ...] = ()


class StateFile:
    """The state in memory and on disk. Trouble with the disk never raises and loses nothing here:
    ``trouble`` says what is wrong, and the next change, or :meth:`flush`, writes everything.

    Args:
        path: ``state.json``.
        clock: Unix seconds, for the name a corrupt file is moved to.
        readonly: Write and move nothing; for a process that does not hold the home's lock.
    """

    def __init__(self, path: Path, clock: Callable[[], float], *, readonly: bool = False) -> None:
        self.path = path
        self.warnings: list[str] = []
        """What was found damaged, and where it is now."""
        self.trouble: str | None = None
        """Why the state is not on disk as it is here; None when it is."""
        self.lost = False
        """Whether nothing could be read: quarantines must be rebuilt from the registry."""
        self._clock = clock
        self._readonly = readonly
        self._dirty = False
        self._mutex = threading.RLock()
        self._writing = threading.RLock()
        self._state = self._read()

    @property
    def state(self) -> State:
        """What is known now."""
        return self._state

    def _read(self) -> State:
        try:
            data = disk.read(self.path, _LIMIT)
        except FileNotFoundError:
            self.lost = True
            return State()
        except OSError as error:
            self.lost = True
            self._move_aside(f"cannot be read: {error.strerror or error}")
            return State()
        try:
            return State.model_validate_json(data)
        except ValidationError as error:
            self.lost = True
            self._move_aside(clean_line(error.errors()[0]["msg"]))
            return State()

    def _move_aside(self, why: str) -> None:
        if self._readonly:
            self.warnings.append(f"{self.path.name} is damaged ({why})")
            return
        aside = disk.free_name(self.path, self._clock())
        try:
            self.path.rename(aside)
        except OSError as error:
            self.trouble = (
                f"{self.path.name} is damaged and cannot be moved aside: {error.strerror}"
            )
            return
        self.warnings.append(
            f"{self.path.name} was damaged ({why}) and is now {aside.name}; "
            "quarantines are taken from the registry, strikes and holds in it are unknown"
        )

    def change(self, *, durable: bool = True, **parts: object) -> None:
        """Replace sections of the state.

        Args:
            durable: Wait until it is on disk. Without it the change is written by the next
                durable one or by :meth:`flush`.
        """
        with self._mutex:
            self._state = self._state.model_copy(update=parts)
            self._dirty = True
        if durable:
            self.flush()

    def edit(
        self, edited: Callable[["State"], Mapping[str, object]], *, durable: bool = True
    ) -> None:
        """Replace sections by what ``edited`` makes of the state as it is at that moment.

        Threads may edit at once: none overwrites what another has just changed.
        """
        with self._mutex:
            parts = dict(edited(self._state))
            if parts:
                self.change(durable=False, **parts)
        if parts and durable:
            self.flush()

    @property
    def waiting(self) -> bool:
        """Whether something is not on disk yet."""
        return self._dirty

    def flush(self) -> bool:
        """Write what is not on disk yet. Returns whether everything now is.

        Readers and changes go on while the disk is waited for; writers take turns.
        """
        with self._writing:
            with self._mutex:
                if self._readonly or not self._dirty:
                    return self.trouble is None
                data = self._state.model_dump_json(indent=1).encode() + b"\n"
                self._dirty = False
            try:
                disk.replace(self.path, data)
            except OSError as error:
                with self._mutex:
                    self._dirty = True
                self.trouble = f"{self.path.name} cannot be written: {error.strerror or error}"
                return False
            self.trouble = None
            return True
