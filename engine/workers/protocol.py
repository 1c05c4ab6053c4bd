"""The words parent and worker say to each other, and how they go over the wire.

Each frame is a JSON object with a ``type``, preceded by its length as four big-endian bytes.
Requests are multiplexed by id. A frame that cannot be read ends the connection: a worker that
garbles its frames has lost its memory, and nothing it says later can be trusted.

A worker of another runtime needs nothing but pydantic to speak this.
"""

import struct
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.types import Backend

PROTOCOL = 1
MAX_FRAME = 16 * 1024 * 1024
"""Longest frame in bytes. A prompt of a million tokens is about 4 MiB of text."""
_LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent something that is no frame."""


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class ToolCall(_Frame):
    """A call an assistant made earlier in the conversation; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(_Frame):
    """One turn of a conversation."""

    role: str
    content: str
    reasoning: str | None = None
    """What the assistant thought before it answered; templates know it as reasoning_content."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Which call a ``tool`` message answers."""
    name: str | None = None


class Sampling(_Frame):
    """How the next token is drawn. ``temperature`` 0 is greedy; a seed then changes nothing."""

    temperature: float = Field(default=0.7, ge=0, le=5)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps every token."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    seed: int | None = None
    max_tokens: int = Field(default=512, ge=1)
    stop: tuple[str, ...] = ()
    repeat_penalty: float = Field(default=1.0, gt=0)
    """1.0 is none."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] = Field(default_factory=dict)
    """Added to the logits of these tokens; -100 bans one."""


# -- parent to worker ---------------------------------------------------------------------------


class Load(_Frame):
    """Load this model. Exactly one per worker's life."""

    type: Literal["load"] = "load"
    model_id: str
    path: str
    """The GGUF file (the first split) or the model's folder."""
    context: int
    """Tokens one sequence may hold."""
    slots: int = 4
    threads: int | None = None
    fingerprint: str = ""
    state_dir: str = ""
    """Where a simulated model keeps count of its faults, so that they survive its death."""
    build_from: str = ""
    """Set for the MLX starter: the known GGUF to build ``path`` from when it is not there yet."""
    places: tuple[tuple[str, str], ...] = ()
    """``path`` and ``state_dir`` of each rank, where they are on several hosts."""


class Generate(_Frame):
    """Continue a conversation (``messages``) or a plain text (``prompt``); exactly one is set."""

    type: Literal["generate"] = "generate"
    id: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    ignore_eos: bool = False
    """Run to ``max_tokens`` whatever the model says; for benchmarks and the cancel check."""
    tools: tuple[dict[str, Any], ...] = ()
    """Tools in OpenAI's form, handed to the chat template as they are."""
    opening: str = ""
    """The first words of the answer, put in the model's mouth; they are not repeated as output."""
    template_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Further names for the chat template, such as ``enable_thinking``."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    """How many likeliest tokens each delta tells beside the chosen ones; None tells neither."""
    json_schema: str | None = None
    """The answer must be JSON of this schema (JSON text); ``{}`` is any JSON value."""


class Cancel(_Frame):
    """End this request within one step. Unknown ids are ignored: it may just have finished."""

    type: Literal["cancel"] = "cancel"
    id: str


class Probe(_Frame):
    """Ask one question of a loaded model for the canary.

    ``tokenizer`` round-trips ``text``; ``template`` renders ``messages``; ``logits`` evaluates
    ``text`` and looks at every logit; ``perplexity`` scores ``text`` (the evaluation just done by
    ``logits`` on the same text may be used again); ``render`` returns the rendered prompt.
    """

    type: Literal["probe"] = "probe"
    id: str
    name: Literal["tokenizer", "template", "logits", "perplexity", "render"]
    text: str = ""
    messages: tuple[Message, ...] = ()


class Shutdown(_Frame):
    """Close the model and exit with status 0."""

    type: Literal["shutdown"] = "shutdown"


# -- worker to parent ---------------------------------------------------------------------------


class Hello(_Frame):
    """The first frame: who speaks, with which versions. Sent once the backend is imported."""

    type: Literal["hello"] = "hello"
    protocol: int
    pid: int
    backend: Backend
    backend_version: str
    """As it stands in the registry, such as ``mlx-lm 0.32.2, mlx 0.32.4``."""
    device: str = ""


class Progress(_Frame):
    """Something moved: a load (``id`` None) or the prefill of a request.

    ``fraction`` is None where the backend cannot tell how far it is. Resets every deadline of
    its subject.
    """

    type: Literal["progress"] = "progress"
    id: str | None = None
    stage: str = "loading"
    fraction: float | None = None
    done: int = 0
    total: int = 0


class Loaded(_Frame):
    """The model is in memory."""

    type: Literal["loaded"] = "loaded"
    context: int
    vocabulary: int
    chat: bool
    """Whether the model has a chat template."""
    tool_format: str = ""
    """How this model writes tool calls, by the name of its parser (``mlx_lm.tool_parsers``), as
    its chat template shows; empty where it shows none."""
    thinking: tuple[str, str] | None = None
    """The texts that open and close its thinking, if its vocabulary or template has such."""
    backend_version: str = ""
    """Only where the model decides it (simulated); else empty."""
    memory_bytes: int = 0
    """What the worker holds now, by its own measure."""


class Started(_Frame):
    """A request has been rendered and counted; sent before its first delta."""

    type: Literal["started"] = "started"
    id: str
    prompt_tokens: int
    thinking: bool = False
    """Whether the prompt itself opened the model's thinking: the answer then begins inside it."""


class Chance(_Frame):
    """A token and its natural logarithm of probability, before temperature and filters."""

    text: str
    bytes: tuple[int, ...]
    logprob: float


class TokenChance(Chance):
    """A chosen token and the likeliest at its place, likeliest first."""

    top: tuple[Chance, ...] = ()


class Delta(_Frame):
    """New text of a request. ``tokens`` is how many tokens it took, at least 0."""

    type: Literal["delta"] = "delta"
    id: str
    text: str
    tokens: int = 1
    chances: tuple[TokenChance, ...] = ()
    """One for each of ``tokens``, when the request asked for ``logprobs``."""


class Finished(_Frame):
    """A request ended well: ``stop`` (the model or a stop text), ``length`` or ``cancelled``."""

    type: Literal["finished"] = "finished"
    id: str
    reason: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Tokens of the prompt that were in the cache already."""


class Failed(_Frame):
    """A request (``id``) or the load (``id`` None) failed without killing the worker.

    ``kind`` is ``invalid`` (the request's fault), ``context`` (too long), ``template`` or
    ``internal``; for a load the exception's type. ``message`` is raw and must be sanitised.
    """

    type: Literal["failed"] = "failed"
    id: str | None = None
    kind: str
    message: str


class Probed(_Frame):
    """The answer to a probe. ``values`` holds its figures by name, such as ``perplexity``."""

    type: Literal["probed"] = "probed"
    id: str
    name: str
    ok: bool
    detail: str = ""
    values: dict[str, float] = Field(default_factory=dict)
    text: str = ""


class Heartbeat(_Frame):
    """Sent every second by a worker with nothing to do, and between steps by a busy one."""

    type: Literal["heartbeat"] = "heartbeat"
    active: int = 0


class Stats(_Frame):
    """What the worker measures of itself; sent with a heartbeat when it changed."""

    type: Literal["stats"] = "stats"
    memory_bytes: int
    active: int
    queued: int


ToWorker = Load | Generate | Cancel | Probe | Shutdown
FromWorker = (
    Hello | Progress | Loaded | Started | Delta | Finished | Failed | Probed | Heartbeat | Stats
)

_TO_WORKER: TypeAdapter[ToWorker] = TypeAdapter(Annotated[ToWorker, Field(discriminator="type")])
_FROM_WORKER: TypeAdapter[FromWorker] = TypeAdapter(
    Annotated[FromWorker, Field(discriminator="type")]
)
_read_from_worker: Callable[[bytes], FromWorker] = _FROM_WORKER.validator.validate_json
"""What the adapter calls, in three quarters of the time: a frame comes with every token."""


def encode(frame: ToWorker | FromWorker) -> bytes:
    """The frame as it goes over the wire.

    Raises:
        ProtocolError: it is longer than ``MAX_FRAME``.
    """
    # As model_dump_json does, without a text in between. Lone surrogates, which no UTF-8 has, were
    # refused (question.py) or replaced (text.py) before.
    body = frame.__pydantic_serializer__.to_json(frame)
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"frame of {len(body):,} bytes; the limit is {MAX_FRAME:,}")
    return framed(body)


def framed(body: bytes) -> bytes:
    """A frame's body as it goes over the wire."""
    return _LENGTH.pack(len(body)) + body


def _split(data: bytes | bytearray) -> tuple[list[bytes], int]:
    """The whole bodies at the beginning of ``data``, and where they end."""
    bodies: list[bytes] = []
    start, size = 0, len(data)
    while size - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(data, start)
        if length > MAX_FRAME:
            raise ProtocolError(f"frame length {length:,}; the limit is {MAX_FRAME:,}")
        end = start + _LENGTH.size + length
        if end > size:
            break
        bodies.append(bytes(data[start + _LENGTH.size : end]))
        start = end
    return bodies, start


class Decoder:
    """Turns bytes, in whatever pieces they arrive, into whole frame bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes and return the bodies that are now complete.

        Raises:
            ProtocolError: a length field exceeds ``MAX_FRAME``.
        """
        if self._buffer:  # the rest of a frame: a long one must not be copied with every piece
            self._buffer += data
            bodies, end = _split(self._buffer)
            del self._buffer[:end]
        else:
            bodies, end = _split(data)
            self._buffer += data[end:]
        return bodies

    @property
    def torn(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)


def parse_from_worker(body: bytes) -> FromWorker:
    """Read one frame a worker sent.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return _read_from_worker(body)
    except ValidationError as error:
        raise ProtocolError(f"not a frame: {error.errors()[0]['msg']}") from error


def parse_to_worker(body: bytes) -> ToWorker:
    """Read one frame the parent sent.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return _TO_WORKER.validate_json(body)
    except ValidationError as error:
        raise ProtocolError(f"not a frame: {error.errors()[0]['msg']}") from error
