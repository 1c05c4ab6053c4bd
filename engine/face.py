"""The engine as a screen sees it: a protocol with more than one face.

Embedded in production, scripted in tests, reached over the admin API from another process. The
console is written against this and nothing else.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from engine.errors import Decision
from engine.lives.figures import PerformanceView
from engine.types import Backend, EngineSnapshot, Event, Explanation, RegistryRow

if TYPE_CHECKING:
    from engine.ledger.archive import Archive


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a load may be told besides the model's name. None means the settings decide."""

    backend: Backend | None = None
    runtime: str | None = None
    context: int | None = None
    keep_alive_s: float | None = None
    allow_unsupported_runtime: bool = False
    reserve_gb: float | None = None
    ranks: int | None = None
    """Processes to split an MLX model among."""
    host: str | None = None
    """The host of a cluster to load it on; None takes one that has the files and the room."""
    replicas: int | None = None
    """On how many hosts it is to run; None means as the settings say."""
    unattended: bool = False
    """Nobody watches: a model that took the machine down, or whose backend version is suspect, is
    left to an operator."""


class Lane(StrEnum):
    """Which requests go first when there are more than a model can take."""

    INTERACTIVE = "interactive"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call an assistant made earlier in a conversation; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One message of a conversation."""

    role: str
    content: str
    reasoning: str | None = None
    tool_calls: tuple[Call, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How an answer is drawn, and what it must be; the fields are those of the worker's
    ``Sampling`` and ``Generate``."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    tools: tuple[Mapping[str, object], ...] = ()
    opening: str = ""
    """The first words of the answer, put in the model's mouth; they are not repeated."""
    template_options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    logprobs: int | None = None
    json_schema: str | None = None
    deadline_s: float | None = None
    """Longest the whole answer may take, in seconds; None means the settings decide."""


@dataclass(frozen=True, slots=True)
class Chance:
    """A token and the natural logarithm of its probability; ``top`` are the likeliest there."""

    text: str
    bytes: tuple[int, ...]
    logprob: float
    top: "tuple[Chance, ...]" = ()


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """New words. ``text`` is sanitised only on its way to a screen."""

    text: str
    tokens: int
    chances: tuple[Chance, ...] = ()
    """One for each token, when the request asked for ``logprobs``."""


@dataclass(frozen=True, slots=True)
class ChatEnd:
    """The end of an answer: a finish (``stop``, ``length``, ``cancelled``) or a refusal."""

    reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    ttft_ms: float | None = None
    """Time to first token, from the request's arrival."""
    tokens_per_second: float | None = None
    decision: Decision | None = None


class ChatStream(Protocol):
    """A running answer: iterate for deltas, the last item is always one ChatEnd."""

    @property
    def request_id(self) -> str: ...

    @property
    def model_id(self) -> str:
        """Which model answers; an alias may have been asked."""
        ...

    @property
    def thinking(self) -> bool:
        """Whether the answer begins inside the model's thinking; known by its first delta."""
        ...

    def __aiter__(self) -> AsyncIterator[ChatDelta | ChatEnd]: ...

    def cancel(self) -> None:
        """Stop within one step of the backend; the stream then ends with ``cancelled``."""
        ...


class Desk(Protocol):
    """What the API in front of an engine tells it and asks it, besides what everybody may."""

    def opened(self, address: str) -> None:
        """The API answers at ``HOST:PORT``."""
        ...

    def closed(self) -> None:
        """The API answers no longer."""
        ...

    def down(self, why: str) -> None:
        """The API could not be started: a lasting banner and an ``api_down`` event."""
        ...

    def note(
        self,
        kind: str,
        message: str,
        *,
        actor: str = ...,
        level: str = ...,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Put an event on record."""
        ...

    def performance(self, model_id: str) -> PerformanceView:
        """What a model has done since the engine started. Raises EngineError: no such model."""
        ...

    def archive(self) -> "Archive":
        """The registry, to be asked and merged with another host's; its methods block."""
        ...

    def history(self, after: int) -> Iterator[Event]:
        """Events with a sequence above ``after`` from the log's files, oldest first; it blocks."""
        ...

    def copies(self, name: str) -> tuple[str, ...]:
        """The ids of the rows a name means, the one that would answer a request first."""
        ...

    async def probe(self, model_id: str, options: LoadOptions) -> tuple[Explanation, ...]:
        """Try every runtime that could run a model in a child, and ask the gate about each."""
        ...

    def stalled_s(self) -> float:
        """For how long the engine has done nothing at all, in seconds; 0 while it is well."""
        ...


class OutOfReach(Exception):
    """An engine in another process could not be asked, or went away before it had answered; the
    message says so for people."""


class FaceMismatch(Exception):
    """Console and engine do not understand each other; says which is which and what to do."""


class EngineFace(Protocol):
    """Everything a console may ask of an engine, whether it lives in this process or in another.

    ``actor`` is who asks (``user@ssh-client``). ``expect`` is the ``ModelView.version`` the action
    was decided on; if the model has moved since, the action is refused with ``conflict``. With it
    an action is about that row alone; without it, the plain id of a model means all of its copies
    on several hosts, and ``id@HOST`` one. Actions return the ids of the rows they were done to.
    Every refusal is an EngineError with its Decision.
    """

    async def start(self) -> None:
        """Take the home, read what is known, find the models. Raises HomeTaken."""
        ...

    async def stop(self, *, drain_s: float = 0.0) -> None:
        """End requests and workers, in order, and let go of the home. Safe to call twice."""
        ...

    def snapshot(self) -> EngineSnapshot:
        """The state as of now; cheap, and the same object while nothing changed."""
        ...

    def silent_s(self) -> float:
        """For how long the engine should have been heard of and was not, in seconds; 0 for one in
        this process."""
        ...

    async def explain(self, model_id: str, options: LoadOptions = ...) -> Explanation:
        """Run the gate without loading."""
        ...

    async def load(
        self,
        model_id: str,
        options: LoadOptions = ...,
        *,
        actor: str,
        expect: int | None = None,
        wait: bool = False,
    ) -> tuple[str, ...]:
        """Admit and start loading; with ``wait`` return only once it is routable.

        Raises EngineError: refused at the gate or, with ``wait``, failed on the way.
        """
        ...

    async def unload(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Drain and end the worker."""
        ...

    async def release(
        self,
        model_id: str,
        *,
        actor: str,
        expect: int | None = None,
        early: bool = False,
        allow_unsupported_runtime: bool = False,
    ) -> tuple[str, ...]:
        """Let a quarantined model try again: gate, load, canary, probation."""
        ...

    async def hold(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Quarantine by hand, until released."""
        ...

    async def canary(
        self, model_id: str, *, actor: str, expect: int | None = None
    ) -> tuple[str, ...]:
        """Run the canary again on a routable model, in service."""
        ...

    async def prove_outdated(self, model_ids: Sequence[str], *, actor: str) -> None:
        """Load, prove and unload these of the ``outdated`` models, one after another, in the
        background; ``EngineSnapshot.proving`` tells what is left. Never one that came to an
        unclean end; one there is no room for is tried once more at the end.

        Raises:
            EngineError: ``conflict``; such a run is under way, or none of them is outdated.
        """
        ...

    async def stop_proving(self, *, actor: str) -> None:
        """End what :meth:`prove_outdated` began. Without such a run it changes nothing."""
        ...

    async def chat(
        self,
        model_id: str,
        turns: Sequence[ChatTurn],
        options: ChatOptions = ...,
        *,
        client: str,
        prompt: str | None = None,
        lane: Lane = ...,
        trusted: bool = False,
    ) -> ChatStream:
        """Ask a routable model.

        Args:
            client: Who asks, for fairness, the requests screen and evidence.
            prompt: A plain text to continue, instead of ``turns``.
            lane: Interactive requests go before others that wait.
            trusted: An operator's own test: it is never refused as ``request_suspect``, because
                whoever repeats by hand what a model died of means to.

        Raises:
            EngineError: it may not be asked.
        """
        ...

    async def render(self, model_id: str, turns: Sequence[ChatTurn]) -> str:
        """The prompt a routable model would be given for a conversation, by its own template.

        Nothing is generated, and nothing is counted as a request.

        Raises:
            EngineError: it is not routable, or its template refuses or does not end.
        """
        ...

    async def cancel(self, request_id: str, *, actor: str) -> None:
        """Cancel one request in flight."""
        ...

    async def rescan(self) -> None:
        """Look at the disk again."""
        ...

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """Events still in memory with a sequence above ``after``, oldest first."""
        ...

    async def rows(self, model_id: str | None = None, *, limit: int) -> tuple[RegistryRow, ...]:
        """The registry's newest rows, newest first, of one model or of all.

        Raises:
            EngineError: the engine is not open.
        """
        ...


class ApiFace(EngineFace, Protocol):
    """What the API in front of an engine needs besides; it is always in the engine's process."""

    @property
    def desk(self) -> Desk:
        """Where the API reports."""
        ...

    def resolve(self, name: str) -> str:
        """The id of the model that answers to a name, an alias or ``provider/model``.

        Raises:
            EngineError: ``model_not_found``.
        """
        ...

    def why_not(self, model_id: str) -> Decision | None:
        """Why a model of the catalog may not be asked now; None when it may."""
        ...
