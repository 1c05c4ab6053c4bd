"""Who was at work: a record of every worker from spawn to exit, so that an end nobody lived to see
is known at the next start. MLX can take the whole machine down (mlx#3186)."""

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, SubprocessError, run

import psutil

from engine.home.statefile import Intent, State, StateFile
from engine.text import clean_line
from engine.types import Key

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_REQUESTS = 64


def boot_id() -> str:
    """What tells this boot of the machine from every other."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            said = run(command, stdin=DEVNULL, capture_output=True, timeout=5, check=True)
            return clean_line(said.stdout.decode("ascii", "replace").strip(), limit=64)
        return clean_line(_BOOT_ID.read_text("ascii").strip(), limit=64)
    except (OSError, SubprocessError, UnicodeDecodeError):
        # The boot time moves by a second or so when the clock is set; minutes tell boots apart.
        return f"boot-{int(psutil.boot_time() // 60)}"


class Intents:
    """The intents of this engine.

    Args:
        file: Where they are kept.
        clock: Unix seconds.
        boot: Which boot of the machine this is; see :func:`boot_id`.
    """

    def __init__(self, file: StateFile, clock: Callable[[], float], boot: str) -> None:
        self._file = file
        self._clock = clock
        self._boot = boot

    def begin(self, model_id: str, key: Key | None, phase: str = "loading") -> str:
        """Say that a worker is about to start; returns the intent's id. Durable on return, unless
        ``StateFile.trouble`` says otherwise."""
        intent = Intent(
            id=uuid.uuid4().hex,
            boot_id=self._boot,
            model_id=clean_line(model_id),
            backend=str(key.backend) if key else "",
            backend_version=key.backend_version if key else "",
            fingerprint=key.fingerprint if key else "",
            since=self._clock(),
            phase=phase,
            host=key.host if key else "",
        )
        self._file.edit(lambda state: {"intents": (*state.intents, intent)})
        return intent.id

    def update(
        self,
        intent_id: str,
        *,
        pid: int | None = None,
        phase: str | None = None,
        requests: Sequence[str] | None = None,
        durable: bool = False,
    ) -> None:
        """Note what a worker is doing; written with the next durable change or ``flush``.

        A request may last milliseconds and a durable write as long, so the engine flushes about
        once a second rather than with every request.

        Args:
            requests: One short line for each request in flight.
        """
        news: dict[str, object] = {}
        if pid is not None:
            news["pid"] = pid
        if phase is not None:
            news["phase"] = phase
        if requests is not None:
            news["requests"] = tuple(clean_line(line, limit=200) for line in requests[:_REQUESTS])

        def updated(state: State) -> Mapping[str, object]:
            after = tuple(
                intent.model_copy(update=news) if intent.id == intent_id else intent
                for intent in state.intents
            )
            return {"intents": after} if after != state.intents else {}

        self._file.edit(updated, durable=durable)

    def end(self, intent_id: str) -> None:
        """Say that the worker is gone and its end was seen. Unknown ids are ignored."""

        def ended(state: State) -> Mapping[str, object]:
            rest = tuple(i for i in state.intents if i.id != intent_id)
            return {"intents": rest} if len(rest) != len(state.intents) else {}

        self._file.edit(ended)

    def leftovers(self) -> tuple[tuple[Intent, ...], tuple[Intent, ...]]:
        """Take stock at the start of an engine, before the first ``begin``.

        Returns the unclean ends (from an earlier boot: the machine went down), which are kept
        until an operator loads the model, and the orphaned ones (from this boot, or on another
        host: the console was killed), which are only noted here and forgotten.
        """
        left = self._file.state.intents
        unclean = tuple(i for i in left if i.boot_id != self._boot and not i.host)
        orphaned = tuple(i for i in left if i not in unclean)
        if left:
            known = {i.model_id: i for i in (*self._file.state.unclean, *unclean)}
            self._file.change(intents=(), unclean=tuple(known.values()))
        return unclean, orphaned

    def unclean(self, model_id: str) -> Intent | None:
        """How this model's last worker took the machine down, or None. While there is an answer,
        the model is not loaded by itself."""
        name = clean_line(model_id)
        return next((i for i in self._file.state.unclean if i.model_id == name), None)

    def forgive(self, model_id: str) -> None:
        """An operator loads it all the same."""
        name = clean_line(model_id)
        rest = tuple(i for i in self._file.state.unclean if i.model_id != name)
        if len(rest) != len(self._file.state.unclean):
            self._file.change(unclean=rest)
